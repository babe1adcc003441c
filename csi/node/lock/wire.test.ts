import { Code } from '../../../rpc/status.ts';
import { SocketWire } from './wire.ts';

const address = { shelf: 7, slot: 3 };
const owner = { node: 'a', nodeUID: 'node-uid', volumeUID: 'volume-uid' };
const signal = new AbortController().signal;

for (const [what, names, message] of [
  ['without an interface', [], /no AoE interface/],
  ['with an interface that does not exist', ['no-such-nic'], /no-such-nic/],
] as const) {
  const wire = new SocketWire(async () => names);
  for (const [call, run] of [
    ['survey()', () => wire.survey(address, signal)],
    ['configs()', () => wire.configs(address, signal)],
    ['acquire()', () => wire.acquire(address, owner, '2026-01-01T00:00:00Z', signal)],
    ['release()', () => wire.release(address, owner, signal)],
  ] as const) {
    test(`${call} ${what} is UNAVAILABLE, which the kubelet tries again`, async () => {
      await expect(run()).rejects.toMatchObject({ code: Code.UNAVAILABLE, message: expect.stringMatching(message) });
    });
  }
}
