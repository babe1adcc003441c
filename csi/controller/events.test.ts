import { NODES } from '../../api/resources.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { Code, RpcError } from '../../rpc/status.ts';
import { emitDetached, emitRefused } from './events.ts';
import { call } from './testing/fake-cluster.ts';
import { fakeDeps } from './testing/fake-deps.ts';

const volume = (holder: string | undefined, nodes: string[]): AoEVolume =>
  ({
    metadata: { name: 'v' },
    spec: { initiators: { nodes } },
    status: holder === undefined ? {} : { holder: { node: holder, since: '2026-01-01T00:00:00Z', raw: 'lock' } },
  }) as never;

const notReady = { conditions: [{ type: 'Ready', status: 'Unknown', lastTransitionTime: 'noon' }] };
const taints = [{ key: 'node.kubernetes.io/out-of-service', value: 'nodeshutdown' }];
for (const [what, node, says] of [
  ['exists no more', undefined, /the Node does not exist any more$/],
  ['is Ready', { status: { conditions: [{ type: 'Ready', status: 'True' }] } }, /is Ready; its VolumeAttachment was deleted by force$/],
  ['is silent', { status: notReady }, /node w has not been Ready since noon \(its kubelet is silent\)$/],
  [
    'is out of service',
    { spec: { taints }, status: notReady },
    /out of service \(taint node.kubernetes.io\/out-of-service=nodeshutdown\)$/,
  ],
] as const) {
  test(`a node that loses a volume in use gets an Event with its state: it ${what}`, async () => {
    const { api, deps } = fakeDeps();
    if (node) api.put({ kind: 'Node', metadata: { name: 'w' }, ...structuredClone(node) } as never);
    await emitDetached(deps, volume('w', ['w']), 'w', call());
    expect(api.events).toStrictEqual([{ reason: 'DetachedInUse', message: expect.stringMatching(says) }]);
    expect(api.events[0]?.message).toMatch(/^detached from node w, which has the lock since 2026-01-01T00:00:00Z and has not unmounted/);
  });
}

test('no Event when the node does not have the lock, or has not been admitted; one when all nodes are detached', async () => {
  const { api, deps } = fakeDeps();
  for (const [holder, nodes, node] of [
    [undefined, ['w'], 'w'],
    ['x', ['w', 'x'], 'w'],
    ['w', [], 'w'],
  ] as const)
    await emitDetached(deps, volume(holder, [...nodes]), node, call());
  expect(api.events).toStrictEqual([]);
  await emitDetached(deps, volume('x', ['w', 'x']), '', call());
  expect(api.events).toHaveLength(1);
});

test('an API server that does not answer does not keep a node attached', async () => {
  const { api, deps } = fakeDeps();
  api.failNext('get', new Error('no API server'));
  await emitDetached(deps, volume('w', ['w']), 'w', call());
  expect(api.events[0]?.message).toMatch(/the state of the node is unknown$/);
  expect(api.read(NODES, 'w')).toBeUndefined();
});

test('a refusal is an Event only when waiting does not end it', () => {
  const { api, deps } = fakeDeps();
  for (const error of [new RpcError(Code.ABORTED, 'busy'), new RpcError(Code.UNAVAILABLE, 'away'), new Error('fault')])
    emitRefused(deps, volume(undefined, []), 'w', error);
  expect(api.events).toStrictEqual([]);
  emitRefused(deps, volume(undefined, []), 'w', new RpcError(Code.FAILED_PRECONDITION, 'node x has it'));
  expect(api.events).toStrictEqual([{ reason: 'PublishRefused', message: 'node w is not admitted: node x has it' }]);
});
