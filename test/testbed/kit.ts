import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CACHE, keyOf } from './paths.ts';

const SOURCES = join(import.meta.dirname, 'kit');
const SHARED = ['build', 'go.mod', 'go.sum', 'tools.go'].map((name) => join(SOURCES, name));
export const KIT_KEY = keyOf([...SHARED, join(SOURCES, 'cmd/hyperkube')]);
export const STORAGE_SUITE_KEY = keyOf([...SHARED, join(SOURCES, 'cmd/storage-suite')]);
/** Folder of the Kubernetes programs and the snapshot CRDs that `test/testbed/kit/build` makes. */
export const KIT = join(CACHE, `kit-${KIT_KEY}`);
/** CRDs of snapshots and group snapshots, which a distribution of Kubernetes installs and a driver's chart does not. */
export const SNAPSHOT_CRDS = join(KIT, 'snapshot-crds');

/** Version of a Go module in the kit, such as `v1.37.2` of `k8s.io/kubernetes`. @throws Error when the kit does not name it */
export function kitVersion(module: string): string {
  const versions = new Map(
    readFileSync(join(SOURCES, 'go.mod'), 'utf8')
      .split('\n')
      .map((line) => line.trim().split(' '))
      .map(([path = '', version = '']) => [path, version]),
  );
  const version = versions.get(module);
  if (!version) throw new Error(`${module} is not in ${SOURCES}/go.mod`);
  return version;
}

/** The sidecars, each with the module that it is built from. Their images have these names in registry.k8s.io/sig-storage. */
const SIDECARS = {
  'csi-provisioner': 'github.com/kubernetes-csi/external-provisioner/v6',
  'csi-attacher': 'github.com/kubernetes-csi/external-attacher/v4',
  'csi-resizer': 'github.com/kubernetes-csi/external-resizer/v2',
  'csi-snapshotter': 'github.com/kubernetes-csi/external-snapshotter/v8',
};

/** Program and version of each sidecar in the kit. */
export const sidecars = Object.entries(SIDECARS).map(([name, module]) => ({ name, version: kitVersion(module) }));
