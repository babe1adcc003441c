import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** The repository. */
export const ROOT = join(import.meta.dirname, '../..');
/** What is expensive to build lives here, outside the tree, in folders keyed by what they are built from. */
export const CACHE =
  process.env.AOE_CSI_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(process.env.HOME ?? '/root', '.cache'), 'aoe-csi');
/** A name makes another cluster beside the one without; nothing of them touches. */
const SUFFIX = process.env.AOE_CSI_CLUSTER ? `-${process.env.AOE_CSI_CLUSTER}` : '';
/** State of the running cluster: certificates, logs, sockets, pids. Exists exactly while there is something to stop. */
export const RUN = join(CACHE, `cluster${SUFFIX}`);
/** Disks of the guests: a guest's flush is an fsync of the host's file, which only memory answers quickly. */
export const SHM = `/dev/shm/aoe-csi-testbed${SUFFIX}`;
/** Network namespace of the cluster: control plane, bridges, the host's ends of the guests' links. */
export const NETNS = `aoe-csi-testbed${SUFFIX}`;
/** How guests and pods reach the control plane. */
export const CONTROL_PLANE_IP = '10.77.0.1';
export const SERVICE_IP = '10.96.0.1';

function filesOf(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path)
    .sort()
    .flatMap((name) => filesOf(join(path, name)));
}

/** A key for what is built from these files, folders and other facts. */
export function keyOf(paths: string[], ...facts: string[]): string {
  const hash = createHash('sha256');
  for (const file of paths.flatMap(filesOf)) hash.update(file.slice(ROOT.length)).update('\0').update(readFileSync(file)).update('\0');
  for (const fact of facts) hash.update(fact).update('\0');
  return hash.digest('hex').slice(0, 12);
}
