import { type KubeNode, notReady } from './kube-node.ts';

type Condition = NonNullable<NonNullable<KubeNode['status']>['conditions']>[number];
const node = (...conditions: Condition[]): KubeNode => ({ metadata: { name: 'a' }, status: { conditions } });

test('a node that is not Ready says since when, and why', () => {
  const table: [KubeNode | undefined, string | undefined][] = [
    [undefined, undefined],
    [{ metadata: { name: 'a' } }, undefined],
    [node({ type: 'DiskPressure', status: 'True' }), undefined],
    [node({ type: 'Ready', status: 'True' }), undefined],
    [
      node({ type: 'Ready', status: 'False', reason: 'KubeletNotReady' }),
      'node a has not been Ready since an unknown time (KubeletNotReady)',
    ],
    [
      node({ type: 'Ready', status: 'Unknown', lastTransitionTime: '2026-01-01T00:00:00Z' }),
      'node a has not been Ready since 2026-01-01T00:00:00Z (its kubelet is silent)',
    ],
  ];
  for (const [given, expected] of table) expect(notReady(given)).toBe(expected);
});
