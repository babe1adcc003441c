import { mappingName } from '../../../api/address.ts';
import { parseQuantity } from '../../../api/quantity.ts';
import { type AoEVolume, isAuthenticated, isNeverFormatted } from '../../../api/volume.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import type { StageJob } from '../calls/stage-job.ts';
import type { Disk, Mapping } from '../contracts.ts';
import type { Deps } from '../deps.ts';
import { mountOrFormat } from '../filesystem/format-rule.ts';
import { inspect } from '../filesystem/mount.ts';
import type { Passphrase } from './passphrase.ts';
import { zeroAll } from './zero-all.ts';

/** What blkid(8) calls a LUKS header. */
const LUKS = 'crypto_LUKS';

interface Found {
  readonly device: Disk;
  readonly volume: AoEVolume;
}

/**
 * Opens the disk of an encrypted volume, and writes the LUKS header first when the disk is empty and new. The status says "Formatted" before
 * anything can be written through the mapping but zeros; so while it says "Formatting", there is no data.
 *
 * With authentication a sector can be read only once it was written. So zeros are written to all of a new disk, which may take hours: the
 * status says how far that is, and the next call goes on from there, on this node or another.
 * @param volume as it was read after this node took the lock
 * @returns the mapping, which is used in the place of the disk
 * @throws RpcError FAILED_PRECONDITION when the disk is neither empty and new, nor has the right header; UNAUTHENTICATED for a wrong passphrase
 */
export async function unlock(
  deps: Deps,
  job: StageJob,
  passphrase: Passphrase,
  { device, volume }: { device: Disk; volume: AoEVolume | undefined },
): Promise<Mapping> {
  const { name, context, disk, signal } = job;
  const { encryption } = deps;
  if (volume?.metadata.uid !== context.volumeUID) throw new RpcError(Code.ABORTED, `${name}: the AoEVolume was deleted meanwhile`);
  const mapped = mappingName(context.address, context.volumeUID);
  const present = await disk.mapping();
  const luks = volume.status?.luks;
  // A pod has it in use, so that it was not closed with the disk.
  if (present?.name === mapped && luks?.state === 'Formatted') return present;
  await encryption.prepare({ authenticated: isAuthenticated(context) }, signal);
  // What is left of an attempt that was cut short.
  await encryption.closeAll(disk.address, signal);
  job.step('inspection of the LUKS header');
  const decision = await decide(deps, job, { device, volume });
  if (decision === 'format') return await format(deps, job, passphrase, { device, volume });
  const uuid = await encryption.uuid(device.path, signal);
  if (luks && luks.uuid !== uuid) {
    const message = `${name}: the disk has a LUKS header with UUID ${uuid}, and the volume's is ${luks.uuid}; it is not opened. Has somebody written another header?`;
    throw new RpcError(Code.FAILED_PRECONDITION, message);
  }
  const mapping = await open(deps, job, passphrase, device);
  if (decision === 'zero') return await finish(deps, job, { mapping, volume, uuid, from: parseQuantity(luks?.zeroed ?? '0') });
  // A volume that was made of a snapshot has the header of its source.
  if (!luks) await deps.volumes.record(volume, { luks: { uuid, state: 'Formatted' } }, signal);
  return mapping;
}

/**
 * @returns `zero` when the disk has its header, and zeros were written to a part of it
 * @throws RpcError FAILED_PRECONDITION when the disk may be neither opened nor formatted
 */
async function decide({ encryption, filesystems }: Deps, job: StageJob, { device, volume }: Found): Promise<'open' | 'format' | 'zero'> {
  const { name, context, usage, disk, signal } = job;
  const { luks } = volume.status ?? {};
  const locked = context.access === 'Exclusive';
  const readOnly = usage.readOnly || !locked;
  const { content, blank } = await inspect(filesystems, device, luks === undefined, signal);
  const decision = mountOrFormat({
    name,
    content,
    blank,
    recorded: luks && { type: LUKS, state: luks.state },
    restored: isNeverFormatted(volume),
    wanted: LUKS,
    what: 'LUKS header',
    readOnly,
    locked,
  });
  let begun: 'open' | 'format' | 'zero' = decision === 'format' ? 'format' : 'open';
  if (decision === 'mount' && luks?.state === 'Formatting') {
    // A header without a key, or with one that nobody has used: luksFormat was cut short, or what follows it.
    if (readOnly) {
      const message = `${name}: its LUKS header is only half written. A node that has the lock and may write completes it: use the volume there first`;
      throw new RpcError(Code.FAILED_PRECONDITION, message);
    }
    const uuid = await encryption.uuid(device.path, signal);
    if (uuid === luks.uuid) begun = luks.zeroed === undefined ? 'format' : 'zero';
  }
  if (begun !== 'open' && (await disk.isClaimed(signal))) {
    throw new RpcError(Code.FAILED_PRECONDITION, `${name}: the disk is in use on this node, but is not encrypted yet; it is not formatted`);
  }
  return begun;
}

/** Writes the LUKS header of an empty disk. That it has begun is recorded before, so that an interrupted one is recognized. */
async function format(deps: Deps, job: StageJob, passphrase: Passphrase, { device, volume }: Found): Promise<Mapping> {
  const { encryption, volumes, nodeName, log } = deps;
  const { signal, step, context } = job;
  log.info({ volume: volume.metadata.name, device: device.path }, 'encrypting an empty disk');
  const uuid = context.volumeUID;
  step('record of the LUKS header');
  const still = stillHas(nodeName, volume.status?.luks?.state);
  await volumes.record(volume, { luks: { uuid, state: 'Formatting', zeroed: null } }, signal, still);
  step('luksFormat');
  await encryption.format(device.path, { uuid, passphrase, authenticated: isAuthenticated(context) }, signal);
  const mapping = await open(deps, job, passphrase, device);
  return finish(deps, job, { mapping, volume, uuid, from: 0 });
}

/** If a node was slow, the disk may belong to another one by now, and be encrypted by it. */
function stillHas(nodeName: string, state: string | undefined): (now: AoEVolume) => boolean {
  return ({ spec, status }) => status?.luks?.state === state && spec.initiators.nodes?.includes(nodeName) === true;
}

/** Writes the zeros that a new mapping needs, and records that the header is whole. */
async function finish(
  { encryption, volumes, nodeName }: Deps,
  job: StageJob,
  { mapping, volume, uuid, from }: { mapping: Mapping; volume: AoEVolume; uuid: string; from: number },
): Promise<Mapping> {
  const { signal, step, context } = job;
  const record = (state: 'Formatting' | 'Formatted', zeroed: string | null): Promise<void> =>
    volumes.record(volume, { luks: { uuid, state, zeroed } }, signal, stillHas(nodeName, 'Formatting'));
  // Zeros on the disk are noise in the mapping: the file system is only made where zeros are read.
  step('zeros on the new disk');
  if (isAuthenticated(context)) await zeroAll(encryption, job, { mapping, from, record: (zeroed) => record('Formatting', zeroed) });
  else await encryption.zeroEnds(mapping, signal);
  await record('Formatted', null);
  return mapping;
}

/** @throws RpcError FAILED_PRECONDITION when the header has tags and the volume should have none, or the other way round */
async function open({ encryption }: Deps, job: StageJob, passphrase: Passphrase, device: Disk): Promise<Mapping> {
  const { name, context, signal, step } = job;
  step('opening of the LUKS header');
  try {
    const readOnly = context.access === 'ReadOnlyMany';
    const mapped = mappingName(context.address, context.volumeUID);
    const mapping = await encryption.open(device.path, { name: mapped, passphrase, readOnly }, signal);
    const hasTags = mapping.tags !== undefined;
    if (hasTags === isAuthenticated(context)) return mapping;
    await encryption.closeAll(context.address, signal);
    const message = `the LUKS header is one with${hasTags ? '' : 'out'} authentication, and the volume has encryption ${context.encryption}; it is not used`;
    throw new RpcError(Code.FAILED_PRECONDITION, message);
  } catch (error) {
    if (!(error instanceof RpcError)) throw error;
    throw new RpcError(error.code, `${name}: ${error.message}`, { cause: error });
  }
}
