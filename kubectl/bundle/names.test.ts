import { attachment, claim, persistentVolume, pod, volume } from '../testing/objects.ts';
import type { Collected } from './collect.ts';
import { namesOf } from './names.ts';

const collected = (more: object = {}) => ({ events: [], ...more }) as unknown as Collected;

describe('namesOf', () => {
  it('has the names of claims, of the pods that use them, and of claims that PersistentVolumes, volumes and events know', () => {
    const names = namesOf(
      collected({
        claims: [claim('data', 'pvc-1')],
        users: [pod('web', { claims: ['data'] })],
        persistentVolumes: [persistentVolume('pvc-2', 'gone', 'past')],
        volumes: [volume('pvc-3', { metadata: { annotations: { 'aoe.dev/claim': 'old/lost' } } })],
        attachments: [attachment('pvc-1', 'worker-1')],
        pods: [pod('aoe-csi-agent-x', { namespace: 'aoe-csi', component: 'agent' })],
        events: [
          { involvedObject: { kind: 'Pod', namespace: 'late', name: 'ended' } },
          { involvedObject: { kind: 'Job', namespace: 'jobs', name: 'nightly' } },
          { involvedObject: { kind: 'Pod', namespace: 'aoe-csi', name: 'aoe-csi-agent-x' } },
        ],
      }),
      'aoe-csi',
      [],
    );
    expect(names.namespaces).toStrictEqual(['shop', 'shop', 'past', 'old', 'late', 'jobs']);
    expect(names.claims).toStrictEqual(['data', 'gone', 'lost']);
    expect(names.pods).toStrictEqual(['web', 'ended']);
  });

  it('has those of VolumeSnapshots and their groups, also where nothing else is left in a namespace', () => {
    const noted = (key: string, value: string) => ({ metadata: { name: 's', annotations: { [key]: value } } });
    const names = namesOf(
      collected({
        snapshots: [noted('aoe.dev/volume-snapshot', 'only/nightly'), noted('x', 'y')],
        snapshotGroups: [noted('aoe.dev/volume-group-snapshot', 'group/both')],
      }),
      'aoe-csi',
      [],
    );
    expect(names).toMatchObject({ namespaces: ['only', 'group'], snapshots: ['nightly', 'both'] });
  });

  it('has those of Secrets in StorageClasses and PersistentVolumes', () => {
    const parameters = {
      'csi.storage.k8s.io/node-stage-secret-name': 'key',
      'csi.storage.k8s.io/node-stage-secret-namespace': 'vault',
      'csi.storage.k8s.io/node-publish-secret-name': `\${pvc.name}`,
      pool: 'fast',
    };
    const csi = { driver: 'aoe.dev', nodePublishSecretRef: { name: 'data-key', namespace: 'bank' } };
    const names = namesOf(
      collected({ classes: [{ metadata: { name: 'aoe' }, parameters }], persistentVolumes: [{ metadata: { name: 'p' }, spec: { csi } }] }),
      'aoe-csi',
      [],
    );
    expect(names).toMatchObject({ namespaces: ['vault', 'bank'], secrets: ['key', 'data-key'] });
  });

  it('has those of what is gone, from the fields of logs', () => {
    const logs = [
      '2026-11-28T12:00:00Z {"level":"warn","node":"w","namespace":"one","pod":"deleted","force":true,"msg":"m"}',
      '2026-11-28T12:00:00Z {"pod":"aoe-csi-agent-x","namespace":"aoe-csi"}',
      'I1128 1 x.go:1] "Removed" pod="aoe-csi/aoe-csi-agent-before"',
      'I1128 12:00:00.0 1 controller.go:1] "Started" PVC="two/claim-a" StorageClass="aoe"',
      'I1128 event.go:1] "Event occurred" object="three/claim-b" fieldPath="" kind="PersistentVolumeClaim" reason="x"',
      'I1128 Event(v1.ObjectReference{Kind:"PersistentVolumeClaim", Namespace:"four", Name:"claim-c", UID:"u"}): type',
      'GRPC request: {"parameters":{"csi.storage.k8s.io/pvc/name":"claim-d","csi.storage.k8s.io/pvc/namespace":"five"}}',
      'GRPC request: "{\\"csi.storage.k8s.io/volumesnapshot/name\\":\\"snap\\",\\"csi.storage.k8s.io/pod.name\\":\\"p\\"}"',
    ];
    const ours = [pod('aoe-csi-agent-x', { namespace: 'aoe-csi', component: 'agent' })];
    expect(namesOf(collected({ pods: ours }), 'aoe-csi', logs)).toStrictEqual({
      namespaces: expect.arrayContaining(['one', 'two', 'three', 'four', 'five']),
      claims: expect.arrayContaining(['claim-a', 'claim-b', 'claim-c', 'claim-d']),
      pods: ['deleted', 'p'],
      snapshots: ['snap'],
      secrets: [],
    });
  });
});
