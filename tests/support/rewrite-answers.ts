import type { Faults } from '../../src/simulator/faults.ts';

type ChatLine = {
  response: { body: { choices: { message: { content: string } }[] } };
};

/**
 * Makes the simulator's model answer with the given text where the prompt is the given one. The simulator's
 * own summary of so short a prompt shows all of it, which is how a line is recognised.
 */
export function rewriteAnswers(answers: Record<string, string>): Faults {
  const prompts = Object.keys(answers).sort((a, b) => b.length - a.length);
  return {
    written(_batch, text) {
      const line = JSON.parse(text) as ChatLine;
      const { message } = line.response.body.choices[0]!;
      const { summary } = JSON.parse(message.content) as { summary: string };
      const prompt = prompts.find((each) => summary.startsWith(each));
      if (prompt !== undefined) message.content = answers[prompt]!;
      return [JSON.stringify(line)];
    },
  };
}
