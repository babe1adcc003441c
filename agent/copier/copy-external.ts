import { createHash } from 'node:crypto';
import { formatAddress } from '../../api/address.ts';
import { formatQuantity, parseQuantity } from '../../api/quantity.ts';
import { type AoEVolume, type AoEVolumeSpec, VolumeCondition } from '../../api/volume.ts';
import { messageOf } from '../../kube/mod.ts';
import type { ExternalDisk } from '../address/probe.ts';
import { BackendError, type BackingVolume } from '../backends/backend.ts';
import { describeHolder, readHolder } from '../lock/holder.ts';
import { CopierError } from './api.ts';
import { type CopyInContext, type CopyInResult, type CopyInto, copyIn, endChanged, hasChanged, isWhole, type Origin } from './copy-in.ts';
import { jobsOf } from './job-id.ts';

type External = NonNullable<NonNullable<AoEVolumeSpec['source']>['external']>;

interface Disk {
  serial: string;
  bytes: number;
}

/**
 * Makes a volume with the data of a disk that a target outside this project serves, as {@link copyIn} says. Such a target keeps nobody from writing.
 * So nothing is copied while its config string says that a host has the disk, what was copied before that is thrown away, and data that is found
 * to have changed ends the copy.
 * @throws BackendError
 */
export async function copyExternal(context: CopyInContext, into: CopyInto, external: External, signal: AbortSignal): Promise<CopyInResult> {
  const { backend, request, volume } = into;
  let begun = await backend.find(request.uid, signal).catch((error: unknown) => {
    if (error instanceof BackendError) return error;
    throw error;
  });
  if (!(begun instanceof BackendError) && isWhole(begun)) return { kind: 'whole' };
  const paths = context.interfaces();
  const found = userInCluster(volume) ?? (await survey(context, external, signal));
  const at = formatAddress(external);
  const holder = 'holder' in found ? found.holder : undefined;
  // The holder may have written since the copy began, also where nothing is compared any more. What could not be thrown away while it had
  // the disk is thrown away now.
  if (holder !== undefined || (begun && wasInUse(volume))) {
    const kept = await discard(context, into, begun, at, signal);
    if (typeof kept === 'object') return kept;
    const why =
      holder === undefined
        ? `a host had the disk at ${at}, so the copy begins again`
        : `the disk at ${at} is in use: ${holder}. Once nobody has it, it is copied from its beginning`;
    if (holder !== undefined || kept !== '') return { kind: 'no-source', reason: 'SourceInUse', message: `${why}${kept}` };
    begun = undefined;
  }
  if (begun instanceof BackendError) throw begun;
  const disk = 'disk' in found ? found.disk : undefined;
  const problem = 'problem' in found ? found.problem : '';
  // While nobody answers, a copy that has begun keeps its progress; and one that is whole no longer needs its source.
  const began = begun?.copy?.split('/')[0];
  const id = disk ? originId(external, disk) : began;
  if (id === undefined) return { kind: 'no-source', message: problem };
  // Another disk than the one that was begun is refused for that, whatever its size.
  if (disk && disk.bytes > request.bytes && (began === undefined || began === id)) {
    const isAsked = parseQuantity(volume.spec.capacity ?? '0') >= disk.bytes;
    const advice = isAsked
      ? 'spec.capacity is not reserved yet, see condition Grown'
      : `set spec.capacity to ${formatQuantity(disk.bytes)}`;
    const message = `the disk at ${at} has ${formatQuantity(disk.bytes)}, more than the ${formatQuantity(request.bytes)} of the volume: ${advice}`;
    return { kind: 'no-source', reason: 'SourceTooLarge', message };
  }
  const origin: Origin = {
    id,
    from: `the disk at ${at}${disk ? ` (serial number ${disk.serial})` : ''}`,
    bytes: disk?.bytes,
    paths,
    source: async () => {
      if (!disk) return problem;
      const { shelf, slot } = external;
      return { kind: 'aoe', shelf, slot, serial: disk.serial, interfaces: paths.map(({ name }) => name) };
    },
    troubles: [],
    isAnother: () =>
      `the copy was begun from another disk at ${at}, with another serial number or size. Bring that disk back, or delete the AoEVolume and create it again`,
    mayChange: true,
    // One without a job may be what a crash left of one that was thrown away.
    isClean: begun === undefined || begun.unwiped === true,
  };
  return await copyIn(context, into, origin, signal);
}

/** Names a disk in the mark of half a copy. A serial number may have characters that a mark must not have. */
function originId({ shelf, slot }: External, { serial, bytes }: Disk): string {
  return `${shelf}.${slot}-${createHash('sha256').update(`${serial}\n${bytes}`).digest('hex').slice(0, 16)}`;
}

/** Who got the disk through an AoEVolume that stands for it, as the operator says. Not every such user is in the config string. */
function userInCluster({ status }: AoEVolume): { holder: string } | undefined {
  const placed = status?.conditions?.find(({ type }) => type === VolumeCondition.Placed);
  return placed?.status === 'False' && placed.reason === 'SourceInUse' ? { holder: placed.message } : undefined;
}

/** Whether this was the last that was said about the data: what had been copied before may still be there. */
function wasInUse({ status }: AoEVolume): boolean {
  return status?.conditions?.some(({ type, reason }) => type === VolumeCondition.Provisioned && reason === 'SourceInUse') ?? false;
}

/** The one disk at the address, who has it, or why it cannot be read, for people. */
async function survey(
  { survey: ask, interfaces }: CopyInContext,
  external: External,
  signal: AbortSignal,
): Promise<{ disk: Disk } | { holder: string } | { problem: string }> {
  const at = formatAddress(external);
  const names = interfaces().map(({ name }) => name);
  if (names.length === 0) return { problem: 'no interface of this node that carries AoE is up' };
  let disks: ExternalDisk[];
  try {
    disks = await ask(external, signal);
  } catch (error) {
    signal.throwIfAborted();
    return { problem: `${at} cannot be asked: ${messageOf(error)}` };
  }
  const [first] = disks;
  if (!first)
    return {
      problem: `no target answers at ${at} on ${names.join(', ')}: it must be on the segment of this node, serve the MAC addresses of this node, and not run on this node`,
    };
  const holder = disks.map(({ configString }) => readHolder(configString ?? new Uint8Array())).find((each) => each !== undefined);
  if (holder) return { holder: `its config string was set by ${describeHolder(holder)}` };
  const refuses = disks.find(({ configString }) => configString === undefined);
  if (refuses) return { problem: `the target ${refuses.mac} at ${at} does not say whether a host has its disk` };
  const silent = disks.find(({ serial, bytes }) => !serial || !bytes);
  if (silent) return { problem: `the target ${silent.mac} at ${at} does not say which disk it has` };
  const { serial = '', bytes = 0 } = first;
  const other = disks.find((each) => each.serial !== serial || each.bytes !== bytes);
  if (other) return { problem: `two disks answer at ${at}: ${first.mac} has ${serial}, and ${other.mac} has ${other.serial}` };
  if (external.serial !== undefined && external.serial !== serial)
    return { problem: `the disk at ${at} has the serial number ${serial} instead of ${external.serial}: it is not read` };
  return { disk: { serial, bytes } };
}

/**
 * Throws half a copy away. Its jobs end first, also while the pool cannot say what is there.
 * @returns why that is not possible now, as the end of a sentence; or that the source was found to have changed, which stays so
 * @throws BackendError
 */
async function discard(
  { copier }: CopyInContext,
  { backend, request }: CopyInto,
  begun: BackingVolume | BackendError | undefined,
  at: string,
  signal: AbortSignal,
): Promise<string | CopyInResult> {
  try {
    const jobs = await jobsOf(copier, request.uid, signal);
    const changed = jobs.find((job) => hasChanged({ mayChange: true }, job));
    if (changed) return await endChanged(copier, `the disk at ${at}`, changed, signal);
    for (const { id } of jobs) await copier.remove(id, signal);
  } catch (error) {
    if (!(error instanceof CopierError)) throw error;
    return begun ? `; what was copied cannot be thrown away yet: ${error.message}` : '';
  }
  if (begun instanceof BackendError) return `; what was copied cannot be thrown away yet: ${begun.message}`;
  if (begun) await backend.remove(request.uid, signal);
  return '';
}
