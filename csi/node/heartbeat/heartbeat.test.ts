import { Command, Flag, parseFrame } from '../../../aoe/mod.ts';
import { sendHeartbeats } from './heartbeat.ts';
import { wholeSeconds } from './whole-seconds.ts';

const SILENT = { debug() {}, info() {}, warn() {}, error() {} };

/** Collects frames until there are enough, or until something is logged. */
async function frames(names: string[], { broken = [] as string[], enough = 2 } = {}) {
  const stop = new AbortController();
  const sent: { name: string; frame: Uint8Array }[] = [];
  const warnings: object[] = [];
  let open = 0;
  const socket = (name: string) => {
    if (broken.includes(name)) throw new Error(`no ${name}`);
    open++;
    return {
      mac: '02:00:00:00:00:07',
      send: (frame: Uint8Array) => {
        sent.push({ name, frame });
        if (sent.length >= enough) stop.abort();
      },
      close: () => void open--,
    };
  };
  const warn = (keys: object): void => {
    warnings.push(keys);
    stop.abort();
  };
  const options = { everySeconds: 0.01, interfaces: async () => names, log: { ...SILENT, warn }, open: socket };
  await sendHeartbeats(options, stop.signal);
  return { sent, warnings, open };
}

test('each interface sends a request that no target answers and no kernel takes for its own', async () => {
  const { sent, warnings, open } = await frames(['eth1', 'eth2']);
  expect(sent.map(({ name }) => name)).toStrictEqual(['eth1', 'eth2']);
  const { header } = parseFrame(sent[0]?.frame ?? new Uint8Array()) ?? {};
  expect(header).toMatchObject({
    source: '02:00:00:00:00:07',
    destination: 'ff:ff:ff:ff:ff:ff',
    shelf: 4095,
    slot: 0,
    command: Command.Config,
  });
  expect((header?.flags ?? Flag.Response) & Flag.Response).toBe(0);
  expect((header?.tag ?? 0) >>> 31).toBe(1);
  expect(sent[0]?.frame.length).toBeGreaterThanOrEqual(60);
  expect([warnings, open]).toStrictEqual([[], 0]);
});

test('an interface that cannot be used does not stop the others', async () => {
  const { sent, warnings } = await frames(['eth1', 'eth2'], { broken: ['eth1'] });
  expect(sent.map(({ name }) => name)).toStrictEqual(['eth2', 'eth2']);
  expect(warnings).toStrictEqual([]);
});

test('a node that can send nothing says so', async () => {
  expect((await frames(['eth1'], { broken: ['eth1'] })).warnings).toMatchObject([{ error: 'no eth1' }]);
  expect((await frames([])).warnings).toMatchObject([{ error: 'this node has no AoE interface that is up' }]);
});

test('without an interval nothing is sent', async () => {
  await sendHeartbeats(
    { everySeconds: 0, interfaces: () => Promise.reject(new Error('asked')), log: SILENT },
    new AbortController().signal,
  );
});

test('the interval is a whole number of seconds', () => {
  expect([wholeSeconds('0'), wholeSeconds('5')]).toStrictEqual([0, 5]);
  for (const text of ['', '-1', '1.5', '5s', '99999']) expect(() => wholeSeconds(text)).toThrow(RangeError);
});
