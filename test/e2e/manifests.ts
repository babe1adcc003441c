/** Manifests that the end-to-end tests and the demo apply; plain objects, which kubectl takes as JSON. */

interface ClaimOptions {
  size?: string;
  storageClass?: string;
  accessMode?: 'ReadWriteOnce' | 'ReadWriteOncePod' | 'ReadWriteMany' | 'ReadOnlyMany';
  volumeMode?: 'Filesystem' | 'Block';
  volumeName?: string;
  /** The claim begins with the data of a VolumeSnapshot or of another claim. */
  source?: { kind: 'VolumeSnapshot' | 'PersistentVolumeClaim'; name: string };
}

export function storageClass(
  name: string,
  parameters: Record<string, string>,
  bindingMode: 'WaitForFirstConsumer' | 'Immediate' = 'WaitForFirstConsumer',
) {
  return {
    apiVersion: 'storage.k8s.io/v1',
    kind: 'StorageClass',
    metadata: { name },
    provisioner: 'aoe.dev',
    parameters,
    volumeBindingMode: bindingMode,
    reclaimPolicy: 'Delete',
    allowVolumeExpansion: true,
  };
}

export function claim(name: string, options: ClaimOptions = {}) {
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name },
    spec: {
      accessModes: [options.accessMode ?? 'ReadWriteOnce'],
      volumeMode: options.volumeMode ?? 'Filesystem',
      storageClassName: options.storageClass ?? 'aoe',
      resources: { requests: { storage: options.size ?? '64Mi' } },
      ...(options.volumeName ? { volumeName: options.volumeName } : {}),
      ...(options.source ? { dataSource: { apiGroup: API_GROUPS[options.source.kind], ...options.source } } : {}),
    },
  };
}

const API_GROUPS = { VolumeSnapshot: 'snapshot.storage.k8s.io', PersistentVolumeClaim: '' };

/** A VolumeSnapshot of a claim, of the class that is the default for the claim's driver. */
export function volumeSnapshot(name: string, claimName: string) {
  return {
    apiVersion: 'snapshot.storage.k8s.io/v1',
    kind: 'VolumeSnapshot',
    metadata: { name },
    spec: { source: { persistentVolumeClaimName: claimName } },
  };
}

interface PodOptions {
  claim: string;
  node?: string;
  /** Shell script; the volume is at /data, or the device at /dev/data. The pod stays up after it when it ends in `sleep`. */
  script: string;
  block?: boolean;
}

/** A pod that is Ready once its script has made the file /tmp/ready. */
export function pod(name: string, options: PodOptions) {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name },
    spec: {
      restartPolicy: 'Never',
      terminationGracePeriodSeconds: 0,
      ...(options.node ? { nodeSelector: { 'kubernetes.io/hostname': options.node } } : {}),
      containers: [
        {
          name: 'main',
          image: 'docker.io/library/busybox:testbed',
          imagePullPolicy: 'Never',
          command: ['/bin/sh', '-c', options.script],
          ...(options.block
            ? { volumeDevices: [{ name: 'data', devicePath: '/dev/data' }] }
            : { volumeMounts: [{ name: 'data', mountPath: '/data' }] }),
        },
      ],
      volumes: [{ name: 'data', persistentVolumeClaim: { claimName: options.claim } }],
    },
  };
}

/** An AoEVolume that someone applies by hand. */
export function aoeVolume(name: string, spec: Record<string, unknown>) {
  return { apiVersion: 'aoe.dev/v1alpha1', kind: 'AoEVolume', metadata: { name }, spec };
}

/** An AoESnapshot that someone applies by hand. */
export function aoeSnapshot(name: string, volumeName: string, spec: Record<string, unknown> = {}) {
  return { apiVersion: 'aoe.dev/v1alpha1', kind: 'AoESnapshot', metadata: { name }, spec: { volumeName, ...spec } };
}

/** A PersistentVolume for an AoEVolume that exists. */
export function staticVolume(
  name: string,
  options: { volume: string; size?: string; accessMode?: string; volumeMode?: string; fsType?: string },
) {
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { name },
    spec: {
      capacity: { storage: options.size ?? '64Mi' },
      accessModes: [options.accessMode ?? 'ReadWriteOnce'],
      volumeMode: options.volumeMode ?? 'Filesystem',
      storageClassName: '',
      persistentVolumeReclaimPolicy: 'Retain',
      csi: { driver: 'aoe.dev', volumeHandle: options.volume, ...(options.fsType ? { fsType: options.fsType } : {}) },
    },
  };
}

/**
 * A pod's script: a record each 50 ms, each on the disk before the next; the pod fails at the first I/O error. The file of the records is there
 * when the pod is ready.
 */
export const RECORDER =
  'touch /data/records /tmp/ready; i=0; while true; do i=$((i+1)); echo "$i $(date +%s)" >> /data/records && sync || exit 1; usleep 50000; done';

/** An AoESnapshotGroup that someone applies by hand. */
export function aoeSnapshotGroup(name: string, volumeNames: readonly string[]) {
  const spec = { members: volumeNames.map((volumeName) => ({ volumeName })) };
  return { apiVersion: 'aoe.dev/v1alpha1', kind: 'AoESnapshotGroup', metadata: { name }, spec };
}

/** A StatefulSet of one pod with a claim `data-NAME-0` at /data, which is on this node as long as it can be. */
export const statefulSet = (name: string, { storageClass, node, script }: { storageClass: string; node: string; script: string }) => ({
  apiVersion: 'apps/v1',
  kind: 'StatefulSet',
  metadata: { name },
  spec: {
    serviceName: name,
    selector: { matchLabels: { app: name } },
    template: {
      metadata: { labels: { app: name } },
      spec: {
        terminationGracePeriodSeconds: 1,
        affinity: {
          nodeAffinity: {
            preferredDuringSchedulingIgnoredDuringExecution: [
              { weight: 100, preference: { matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: [node] }] } },
            ],
          },
        },
        containers: [
          {
            name: 'main',
            image: 'docker.io/library/busybox:testbed',
            imagePullPolicy: 'Never',
            command: ['sh', '-c', script],
            readinessProbe: { exec: { command: ['test', '-e', '/tmp/ready'] }, periodSeconds: 1 },
            volumeMounts: [{ name: 'data', mountPath: '/data' }],
          },
        ],
      },
    },
    volumeClaimTemplates: [
      {
        metadata: { name: 'data' },
        spec: { accessModes: ['ReadWriteOnce'], storageClassName: storageClass, resources: { requests: { storage: '64Mi' } } },
      },
    ],
  },
});
