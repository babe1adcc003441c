import { mappingName } from '../../api/address.ts';
import { parseQuantity } from '../../api/quantity.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { SECTOR } from './probe.ts';
import { ok, type Step, unknown, type Way, wrong } from './step.ts';

const NOT_LOOKED = 'not looked at: --exec looks on the node';
const NOT_SEEN = 'nobody could look on the node: is its aoe-csi-node pod running, and may you exec in it?';

/** Whether the disk is mounted on the pod's node. */
export function mountStep({ nodeFacts, isExec, chain, pod }: Way, node: string): Step {
  if (!nodeFacts) return unknown('mount', isExec ? NOT_SEEN : NOT_LOOKED);
  const { mounts } = nodeFacts;
  if (mounts.length === 0) return wrong('mount', `the disk is not mounted on ${node}`);
  const uid = pod?.metadata.uid ?? '';
  const ofPod = mounts.find(({ target }) => uid !== '' && target.includes(uid));
  const [first] = mounts;
  const shown = ofPod ?? first;
  const text = `${shown?.type}${shown?.isReadOnly ? ', read-only' : ''} at ${shown?.target}`;
  if (!ofPod && chain.pods !== undefined && pod) return wrong('mount', `it is staged, but not mounted for the pod: ${text}`);
  return ok('mount', text);
}

/** Whether an encrypted volume is unlocked on the pod's node. */
export function encryptionSteps({ nodeFacts, isExec }: Way, { metadata, spec, status }: AoEVolume, node: string): Step[] {
  if (spec.encryption === undefined) return [];
  if (!nodeFacts) return [unknown('encryption', isExec ? NOT_SEEN : NOT_LOOKED)];
  const name = mappingName(status?.address ?? '?', metadata.uid ?? '?');
  const path = `/dev/mapper/${name}`;
  if (nodeFacts.mappings.includes(name)) return [ok('encryption', `${spec.encryption}, unlocked as ${path}`)];
  return [wrong('encryption', `the volume is not unlocked on ${node}: there is no ${path}`)];
}

/** Kernel module and disk on the pod's node. */
export function diskSteps({ nodeFacts, isExec }: Way, volume: AoEVolume, node: string): Step[] {
  if (!nodeFacts) return [unknown('disk', isExec ? NOT_SEEN : NOT_LOOKED)];
  const { status } = volume;
  const name = `/dev/etherd/${status?.address ?? '?'}`;
  const { disk, isModuleLoaded, parameters } = nodeFacts;
  const shown = Object.entries(parameters).map(([key, value]) => `${key}=${value}`);
  const module = isModuleLoaded
    ? ok('module', `aoe is loaded${shown.length > 0 ? `: ${shown.join(', ')}` : ''}`)
    : wrong('module', `the kernel of ${node} has not loaded aoe: modprobe aoe must succeed there`);
  if (!disk) return [wrong('disk', `${name} is not in the kernel of ${node}`), module];
  const bytes = Number(disk.size ?? 0) * SECTOR;
  const wanted = status?.capacity === undefined ? bytes : parseQuantity(status.capacity);
  const text = `${name} is ${disk.state ?? '?'}, target ${disk.mac ?? '?'} on ${disk.netif ?? '?'}`;
  const words = (disk.state ?? '').split(',');
  if (!words.includes('up'))
    return [wrong('disk', `${text}: the kernel has given it up (docs/recovery.md, "A target was away for long")`), module];
  return [bytes === wanted ? ok('disk', text) : wrong('disk', `${text}: it has ${bytes} bytes, the target ${wanted}`), module];
}
