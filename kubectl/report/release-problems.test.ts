import type { Pod } from '../cluster/objects.ts';
import { aoeNode, machine, pod } from '../testing/objects.ts';
import { releaseProblems } from './release-problems.ts';

const ours = (component: string, node = 'storage-1', name = `aoe-csi-${component}`) => pod(name, { namespace: 'aoe-csi', node, component });
const failed = (each: Pod): Pod => ({ ...each, metadata: { ...each.metadata, name: 'old' }, status: { phase: 'Failed' } });
const all = ['controller', 'node', 'agent', 'target'].map((component) => ours(component));
const found = (pods: readonly Pod[] | undefined, machines = [machine('storage-1')]) =>
  releaseProblems({ pods, machines, nodes: [aoeNode('storage-1', { storage: true })] }, 'aoe-csi').map(
    ({ subject, reason }) => `${subject}: ${reason}`,
  );

describe('what is not well with the pods of the release', () => {
  it('is nothing when all are there, or may not be listed', () => {
    expect(found(all)).toStrictEqual([]);
    expect(found(undefined)).toStrictEqual([]);
  });

  it.each(['controller', 'node', 'agent', 'target'])('is a %s that is not there', (component) => {
    const others = all.filter(({ metadata }) => metadata.name !== `aoe-csi-${component}`);
    const subject = component === 'controller' ? 'namespace aoe-csi' : 'node storage-1';
    expect(found(others)).toStrictEqual([`${subject}: NoPod`]);
    expect(found([...others, failed(ours(component))])).toStrictEqual(['pod aoe-csi/old: Failed', `${subject}: NoPod`]);
  });

  it('is not that no pod is on a node that is gone or not Ready', () => {
    expect(found([ours('controller')], [])).toStrictEqual([]);
    expect(found([ours('controller')], [machine('storage-1', { ready: false })])).toStrictEqual([]);
  });

  it('is not a pod that failed and was replaced, nor one that a hook of Helm has left', () => {
    expect(found([...all, failed(ours('controller', 'worker-1')), failed(ours('agent'))])).toStrictEqual([]);
    expect(found([...all, failed(ours('test')), failed(ours('crds'))])).toStrictEqual([]);
  });

  it('is a pod that no node has room for, and not that there is none on its node', () => {
    const agent = ours('agent');
    const { nodeName: _, ...spec } = agent.spec;
    const terms = [{ matchFields: [{ key: 'metadata.name', values: ['storage-1'] }] }];
    const affinity = { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: terms } } };
    const waiting: Pod = { ...agent, spec: { ...spec, affinity }, status: { phase: 'Pending' } };
    expect(found([...all.filter(({ metadata }) => metadata.name !== 'aoe-csi-agent'), waiting])).toStrictEqual([
      'pod aoe-csi/aoe-csi-agent: Pending',
    ]);
  });

  it('is a pod that failed on another node than the one that is Ready', () =>
    expect(found([...all, failed(ours('agent', 'storage-2'))])).toStrictEqual(['pod aoe-csi/old: Failed']));
});
