import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Script } from 'node:vm';
import { CHART } from './helm.ts';

const SCRIPT = readFileSync(join(CHART, 'files/ready.mjs'), 'utf8');

/** What the API server answers to one request: the items of a list, or an error. */
type Answer = object[] | Error;

/** Runs the script of `helm test` until it exits. The last answer to a path is given again; each look at the time is 2 s later. */
async function run(answers: Record<'csinodes' | 'aoenodes' | 'aoepools', Answer[]>): Promise<{ code: number; printed: string }> {
  const printed: string[] = [];
  const print = (text: string) => void printed.push(text);
  let now = 0;
  const code = await new Promise<number>((exit) => {
    const fetch = async (url: string) => {
      const list = answers[url.split('/').at(-1) as keyof typeof answers];
      const items = list.length > 1 ? list.shift() : list[0];
      if (items instanceof Error) throw items;
      return { ok: true, json: async () => ({ items }) };
    };
    new Script(SCRIPT).runInNewContext({
      process: { env: { KUBERNETES_SERVICE_HOST: 'server' }, exit, getBuiltinModule: () => ({ readFileSync: () => 'token' }) },
      Date: { now: () => (now += 2_000) },
      console: { log: print, error: print },
      setTimeout: (done: () => void) => setImmediate(done),
      ...{ fetch, AbortSignal },
    });
  });
  return { code, printed: printed.join('\n') };
}

describe('the test pod of the chart', () => {
  const csinodes = [[{ metadata: { name: 'n1' }, spec: { drivers: [{ name: 'aoe.dev' }] } }]];
  const aoenodes = (status: string) => [
    { metadata: { name: 'n1' }, status: { conditions: [{ type: 'InitiatorReady', reason: 'Why', message: 'what', status }] } },
  ];
  const aoepools = [[{ metadata: { name: 'p' }, status: { nodes: [{ name: 'n1', ready: true, free: '1Gi' }] } }]];

  it('passes when node and pool are ready, although the API server did not answer at first and the node was late', async () => {
    const away = new Error('connect ETIMEDOUT');
    const { code, printed } = await run({ csinodes: [away, ...csinodes], aoenodes: [aoenodes('False'), aoenodes('True')], aoepools });
    expect(code).toBe(0);
    expect(printed).toMatch(/ok {4} node n1: InitiatorReady.*\nok {4} pool p on n1: free 1Gi/);
  });

  it('fails when a node stays as it is, and names it', async () => {
    const { code, printed } = await run({ csinodes, aoenodes: [aoenodes('False')], aoepools });
    expect(code).toBe(1);
    expect(printed).toMatch(/FAILED node n1: InitiatorReady Why what/);
  });

  it('fails when the API server does not answer, and says so', async () => {
    expect(await run({ csinodes: [new Error('connect ETIMEDOUT')], aoenodes: [], aoepools })).toStrictEqual({
      code: 1,
      printed: 'connect ETIMEDOUT',
    });
  });
});
