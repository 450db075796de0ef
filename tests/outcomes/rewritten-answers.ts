import type { Faults } from '../../src/simulator/faults.ts';

type ChatLine = { response: { body: { choices: { message: { content: string } }[] } } };

/** Has the simulator's model answer each film, known by its number, as the test says. */
export function answering(answer: (film: number) => object): Faults {
  return {
    written(_batch, text) {
      const line = JSON.parse(text) as ChatLine;
      const { message } = line.response.body.choices[0]!;
      // Its own summary of so short a prompt shows all of it.
      const film = /film (\d+)/.exec(message.content)![1];
      message.content = JSON.stringify(answer(Number(film)));
      return [JSON.stringify(line)];
    },
  };
}
