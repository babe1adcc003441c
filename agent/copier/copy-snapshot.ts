import { SECTOR } from '../../aoe/mod.ts';
import { parseQuantity } from '../../api/quantity.ts';
import { type AoESnapshot, isBeingCopied, isUncommitted, SnapshotCondition } from '../../api/snapshot.ts';
import { type AoEVolume, serialNumber } from '../../api/volume.ts';
import { roundDown } from '../backends/backend.ts';
import type { CopySource } from './api.ts';
import { type CopyInContext, type CopyInResult, type CopyInto, copyIn, isWhole, type Origin } from './copy-in.ts';

/**
 * Makes a volume with the data of a snapshot in another pool or on another node, as {@link copyIn} says.
 * @throws BackendError
 */
export async function copySnapshot(
  context: CopyInContext,
  into: CopyInto,
  snapshot: AoESnapshot,
  signal: AbortSignal,
): Promise<CopyInResult> {
  const { backend, request, volume } = into;
  if (isWhole(await backend.find(request.uid, signal))) return { kind: 'whole' };
  const problem = problemOf(volume, snapshot, request.bytes);
  if (problem !== undefined) return { kind: 'no-source', message: problem };
  return await copyIn(context, into, originOf(context, volume, snapshot), signal);
}

/** Why nothing can be copied from the snapshot, for people. */
function problemOf({ spec: { capacity, nodeName } }: AoEVolume, snapshot: AoESnapshot, bytes: number): string | undefined {
  const { metadata, spec, status } = snapshot;
  const what = `AoESnapshot ${metadata.name}`;
  if (status?.capacity === undefined || status.createdAt === undefined) return `${what} is not ready`;
  if (isBeingCopied(snapshot)) return `${what} is not ready: its own data is still being copied`;
  if (isUncommitted(snapshot)) return `${what} is not ready: AoESnapshotGroup ${spec.group?.name} is not committed`;
  if (parseQuantity(status.capacity) > bytes) return `${what} has ${status.capacity}, more than the ${capacity} of the volume`;
  return nodeName === undefined ? 'the volume has no node' : undefined;
}

function originOf(context: CopyInContext, volume: AoEVolume, snapshot: AoESnapshot): Origin {
  const { metadata, status } = snapshot;
  const isLocal = status?.nodeName === volume.spec.nodeName;
  const bytes = roundDown(parseQuantity(status?.capacity ?? '0'), SECTOR);
  const paths = isLocal ? [] : context.interfaces();
  const place = isLocal ? '' : ` on node ${status?.nodeName}`;
  return {
    id: metadata.uid ?? '',
    from: `AoESnapshot ${metadata.name} in pool ${status?.pool}${place}`,
    bytes,
    paths,
    source: (signal) => sourceOf(context, snapshot, { isLocal, bytes, paths }, signal),
    troubles: troublesOf(snapshot),
    isAnother: (began) =>
      `the copy was begun from an earlier AoESnapshot ${metadata.name} with UID ${began}, which is gone: delete the volume, and create it again`,
    mayChange: false,
    isClean: true,
  };
}

async function sourceOf(
  { expose }: CopyInContext,
  snapshot: AoESnapshot,
  { isLocal, bytes, paths }: { isLocal: boolean; bytes: number; paths: readonly { name: string }[] },
  signal: AbortSignal,
): Promise<CopySource | string> {
  const { metadata, status } = snapshot;
  if (isLocal) {
    const found = await expose(snapshot, signal);
    if (!found) return `AoESnapshot ${metadata.name} is gone from pool ${status?.pool} on this node`;
    return found.bytes < bytes
      ? `AoESnapshot ${metadata.name} has ${found.bytes} bytes instead of ${bytes}`
      : { kind: 'local', path: found.path };
  }
  if (paths.length === 0) return 'no interface of this node that carries AoE is up';
  if (!status?.copyAddress) return 'the snapshot has no address yet at which it can be read';
  const { shelf, slot } = status.copyAddress;
  return { kind: 'aoe', shelf, slot, serial: serialNumber(metadata.uid ?? '', 0), interfaces: paths.map(({ name }) => name) };
}

/** What is wrong with the source, as operator and agent of its node say: the copier itself only sees that nobody answers. */
function troublesOf({ metadata, status }: AoESnapshot): string[] {
  const types: string[] = [...(metadata.deletionTimestamp ? [] : [SnapshotCondition.Ready]), SnapshotCondition.Exported];
  const wrong = (status?.conditions ?? []).filter((each) => types.includes(each.type) && each.status !== 'True');
  return wrong.map(({ message }) => `AoESnapshot ${metadata.name}: ${message}`);
}
