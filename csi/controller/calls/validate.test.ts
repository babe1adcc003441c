import type { csi } from '../../../rpc/mod.ts';
import { Code } from '../../../rpc/status.ts';
import { block, call, mount } from '../testing/fake-cluster.ts';
import { fakeDeps, putVolume } from '../testing/fake-deps.ts';
import { validateCapabilities } from './validate.ts';

function ask(request: csi.v1.IValidateVolumeCapabilitiesRequest) {
  const { api, deps } = fakeDeps();
  putVolume(api, 'v');
  return validateCapabilities(deps, request, call());
}

test('what a volume can be is confirmed, with all that was asked', async () => {
  const request = { volumeId: 'v', volumeCapabilities: [mount], volumeContext: { a: 'b' }, parameters: { pool: 'default' } };
  const { volumeId: _, ...confirmed } = request;
  expect(await ask(request)).toStrictEqual({ confirmed });
  expect(await ask({ volumeId: 'v', volumeCapabilities: [mount] })).toStrictEqual({ confirmed: { volumeCapabilities: [mount] } });
});

test('what it cannot be is not confirmed, and the message says why', async () => {
  const answer = await ask({ volumeId: 'v', volumeCapabilities: [mount, block] });
  expect(answer).toStrictEqual({ message: 'AoEVolume v: a volume with access Exclusive cannot be written by many nodes' });
});

const refused: [string, csi.v1.IValidateVolumeCapabilitiesRequest, Code][] = [
  ['no volume', { volumeCapabilities: [mount] }, Code.INVALID_ARGUMENT],
  ['no capability', { volumeId: 'v', volumeCapabilities: [] }, Code.INVALID_ARGUMENT],
  ['a volume that does not exist', { volumeId: 'x', volumeCapabilities: [mount] }, Code.NOT_FOUND],
];
for (const [what, request, code] of refused) {
  test(`refused: ${what}`, () => expect(ask(request)).rejects.toMatchObject({ code }));
}
