import { API_VERSION } from '../../api/resources.ts';
import type { AoEVolume, AoEVolumeSpec, AoEVolumeStatus } from '../../api/volume.ts';
import { describeReadiness, describeUser } from './describe.ts';

const volumeOf = (spec: Partial<AoEVolumeSpec> = {}, status: AoEVolumeStatus = {}): AoEVolume => ({
  apiVersion: API_VERSION,
  kind: 'AoEVolume',
  metadata: { name: 'v' },
  spec: { access: 'Exclusive', initiators: {}, deletionPolicy: 'Delete', ...spec },
  status,
});
const condition = (type: string, reason: string, message: string) => ({
  type,
  status: 'True' as const,
  reason,
  message,
  lastTransitionTime: '',
});
const holder = { name: 'a', node: 'a', since: '2026-01-01T00:00:00Z', raw: 'lock' };

for (const [what, volume, user] of [
  ['nobody', volumeOf(), undefined],
  ['a node that is admitted', volumeOf({ initiators: { nodes: ['a'] } }), 'node a'],
  ['a node that has the lock', volumeOf({ initiators: { nodes: ['a'] } }, { holder }), 'node a since 2026-01-01T00:00:00Z'],
  ['a host outside the cluster', volumeOf({ initiators: { macs: ['02:00:00:00:00:01'] } }), '02:00:00:00:00:01 (spec.initiators.macs)'],
  ['a node that is not admitted any more', volumeOf({}, { holder }), 'node a since 2026-01-01T00:00:00Z'],
  ['a lock that is not ours', volumeOf({}, { holder: { name: '"x"', raw: 'x y' } }), 'somebody who wrote "x y"'],
  ['an old lock of an external target', volumeOf({ external: { shelf: 1, slot: 1 } }, { holder }), undefined],
] as const) {
  test(`describeUser() of a volume with ${what}`, () => expect(describeUser(volume)).toBe(user));
}

test('describeReadiness() adds the hosts that are kept out of an exported volume', () => {
  const ready = condition('Ready', 'Exported', 'exported at e7.3');
  expect(describeReadiness(volumeOf())).toMatch(/is the operator running/);
  expect(describeReadiness(volumeOf({}, { conditions: [ready, condition('Exported', 'Exported', 'x')] }))).toBe('exported at e7.3');
  const missing = condition('Exported', 'InitiatorsMissing', 'node b has no address');
  expect(describeReadiness(volumeOf({}, { conditions: [ready, missing] }))).toBe('exported at e7.3, but node b has no address');
});
