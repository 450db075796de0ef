import type { OutcomeWorld } from './outcome-world.ts';

export type RequestBody = Record<string, unknown> & { messages?: { content: string }[]; input?: string };

/** The bodies of the requests in the input files that the simulator holds, by prompt; of the same prompt, the last. */
export async function requestBodies(world: OutcomeWorld): Promise<Map<string, RequestBody>> {
  const byPrompt = new Map<string, RequestBody>();
  for (const body of await allBodies(world)) byPrompt.set(body.input ?? body.messages!.at(-1)!.content, body);
  return byPrompt;
}

async function allBodies(world: OutcomeWorld): Promise<RequestBody[]> {
  const bodies: RequestBody[] = [];
  for (const file of world.simulator.files().filter(({ purpose }) => purpose === 'batch')) {
    const headers = { authorization: 'Bearer test' };
    const reply = await fetch(`${world.simulator.url}/files/${file.id}/content`, { headers });
    const lines = (await reply.text()).trimEnd().split('\n');
    bodies.push(...lines.map((line) => (JSON.parse(line) as { body: RequestBody }).body));
  }
  return bodies;
}
