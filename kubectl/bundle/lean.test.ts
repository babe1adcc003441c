import { leanObject } from './lean.ts';

describe('leanObject', () => {
  it('hides values of environment variables, and what kubectl keeps of a manifest', () => {
    const pod = {
      metadata: { name: 'p', annotations: { 'kubectl.kubernetes.io/last-applied-configuration': 'password', 'aoe.dev/claim': 'a/b' } },
      spec: {
        containers: [
          {
            env: [
              { name: 'PASSWORD', value: 'secret' },
              { name: 'NODE', valueFrom: { fieldRef: {} } },
            ],
          },
        ],
      },
    };
    expect(leanObject(pod)).toStrictEqual({
      metadata: { name: 'p', labels: {}, annotations: { 'aoe.dev/claim': 'a/b' } },
      spec: {
        containers: [
          {
            env: [
              { name: 'PASSWORD', value: '(not in the bundle)' },
              { name: 'NODE', valueFrom: { fieldRef: {} } },
            ],
          },
        ],
      },
    });
  });

  it('leaves out the images on a Node', () => {
    const node = { metadata: { name: 'n' }, status: { phase: 'x', images: [{ names: ['registry/customer'] }] } };
    expect(leanObject(node)).toMatchObject({ status: { phase: 'x' } });
    expect(JSON.stringify(leanObject(node))).not.toMatch('customer');
    expect(node.status.images).toHaveLength(1);
  });

  it('leaves out labels of users when names are replaced, those of the release and the application that a claim is of, too', () => {
    const managedFields = [{ fieldsV1: { 'f:metadata': { 'f:labels': { 'f:customer': {} } } } }];
    const labels = { customer: 'acme', 'app.kubernetes.io/name': 'postgresql', 'app.kubernetes.io/instance': 'acme-db' };
    const annotations = { note: 'y', 'pv.kubernetes.io/bind-completed': 'yes' };
    const ownerReferences = [{ kind: 'Cluster', name: 'acme-db' }];
    const claim = { metadata: { name: 'c', managedFields, ownerReferences, labels, annotations } };
    expect(leanObject(claim, { isRedacted: true })).toStrictEqual({
      metadata: { name: 'c', labels: {}, annotations: { 'pv.kubernetes.io/bind-completed': 'yes' } },
    });
    expect(leanObject(claim)).toMatchObject({ metadata: { labels, ownerReferences } });
  });

  it('leaves labels of the chart when names are replaced: they say which component a pod is of', () => {
    const labels = { 'app.kubernetes.io/name': 'aoe-csi', 'app.kubernetes.io/component': 'agent' };
    expect(leanObject({ metadata: { name: 'p', labels } }, { isRedacted: true })).toMatchObject({ metadata: { labels } });
  });
});
