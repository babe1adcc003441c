import { DRIVER_NAME } from '../../api/meta.ts';
import type { AoEVolume } from '../../api/volume.ts';
import { UsageError } from '../../run/config.ts';
import {
  AOE_VOLUMES,
  CLAIMS,
  type Claim,
  claimsOf,
  PERSISTENT_VOLUMES,
  type PersistentVolume,
  PODS,
  type Pod,
  STORAGE_CLASSES,
  type StorageClass,
} from './objects.ts';
import type { Reader } from './reader.ts';
import { type ClaimName, claimNameOf, claimText, handleOf } from './volumes.ts';

/** What a person named on the command line. */
export type Subject =
  | { readonly kind: 'volume'; readonly name: string }
  | { readonly kind: 'pvc' | 'pod'; readonly namespace: string; readonly name: string };

/** A volume with the objects that lead to it. What is absent does not exist, or may not be read. */
export interface Chain {
  readonly claimName?: ClaimName | undefined;
  readonly claim?: Claim | undefined;
  /** The claim does not exist; absent when it may only not be read. */
  readonly isClaimGone?: boolean | undefined;
  /** The one that the claim names does not exist. */
  readonly isPersistentVolumeGone?: boolean | undefined;
  readonly persistentVolume?: PersistentVolume | undefined;
  /** Name of the AoEVolume; undefined while the claim has none. */
  readonly volumeName?: string | undefined;
  readonly volume?: AoEVolume | undefined;
  /** The AoEVolume may not be read. */
  readonly isVolumeHidden?: boolean | undefined;
  /** The pods that use the claim; undefined when they may not be listed. */
  readonly pods?: readonly Pod[] | undefined;
}

/** That what was named does not exist, or is none of ours. */
export class NotFoundError extends Error {
  override readonly name: string = 'NotFoundError';
}

/** That a claim is another driver's. */
class NotOursError extends NotFoundError {
  override readonly name = 'NotOursError';
}

/**
 * @example parseSubject('pod:shop/web-0')
 * @throws UsageError
 */
export function parseSubject(text: string): Subject {
  const [, kind, rest = ''] = /^(pvc|pod):(.*)$/.exec(text) ?? [];
  if (kind !== 'pvc' && kind !== 'pod') {
    if (!/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(text)) throw new UsageError(`"${text}" is no name of a volume: ${FORMS}`);
    return { kind: 'volume', name: text };
  }
  const [, namespace, name] = /^([^/]+)\/([^/]+)$/.exec(rest) ?? [];
  if (namespace === undefined || name === undefined) throw new UsageError(`"${text}" lacks a namespace or a name: ${FORMS}`);
  return { kind, namespace, name };
}

const FORMS = 'write VOLUME, pvc:NAMESPACE/NAME or pod:NAMESPACE/NAME';

/**
 * The volumes of what a person named: one of a claim or a volume; those of all claims of a pod but those of other drivers. Claims of a pod
 * that do not exist, or may not be read, are among them without a volume.
 * @throws NotFoundError
 */
export async function findChains(reader: Reader, subject: Subject): Promise<Chain[]> {
  if (subject.kind === 'volume') return [await chainOfVolume(reader, subject.name)];
  if (subject.kind === 'pvc') return [await chainOfClaim(reader, subject)];
  const { object: pod, isHidden } = await reader.get<Pod>(PODS, subject.name, subject.namespace);
  if (!pod) throw missing(`pod ${subject.namespace}/${subject.name}`, isHidden);
  const chains: Chain[] = [];
  for (const name of claimsOf(pod)) {
    const claimName = { namespace: subject.namespace, name };
    const chain = await chainOfClaim(reader, claimName, [pod]).catch((error: unknown): Chain | undefined => {
      if (error instanceof NotOursError) return undefined;
      throw error;
    });
    if (chain) chains.push(chain);
  }
  if (chains.length === 0) throw new NotFoundError(`pod ${subject.namespace}/${subject.name} has no volume of aoe.dev`);
  return chains;
}

async function chainOfClaim(reader: Reader, claimName: ClaimName, pods?: readonly Pod[]): Promise<Chain> {
  const { object: claim, isHidden } = await reader.get<Claim>(CLAIMS, claimName.name, claimName.namespace);
  const text = `claim ${claimName.namespace}/${claimName.name}`;
  // Of a pod: that may be ours, or not.
  if (!claim && pods) return { claimName, isClaimGone: !isHidden, pods };
  if (!claim) throw missing(text, isHidden);
  const users = pods ?? (await podsOf(reader, claimName));
  const bound = claim.spec.volumeName;
  if (bound === undefined || bound === '') {
    const driver = await driverOf(reader, claim);
    if (driver !== undefined && driver !== DRIVER_NAME) throw new NotOursError(`${text} waits for a volume of ${driver}, not of aoe.dev`);
    return { claimName, claim, pods: users };
  }
  const { object: persistentVolume, isHidden: isPersistentVolumeHidden } = await reader.get<PersistentVolume>(PERSISTENT_VOLUMES, bound);
  if (persistentVolume && handleOf(persistentVolume) === undefined)
    throw new NotOursError(`${text} is bound to PersistentVolume ${bound}, which is not of aoe.dev`);
  // csi-provisioner gives both the same name.
  const volumeName = persistentVolume ? handleOf(persistentVolume) : bound;
  const found = await reader.get<AoEVolume>(AOE_VOLUMES, volumeName ?? bound);
  const isPersistentVolumeGone = !persistentVolume && !isPersistentVolumeHidden;
  return {
    claimName,
    claim,
    persistentVolume,
    isPersistentVolumeGone,
    volumeName,
    volume: found.object,
    isVolumeHidden: found.isHidden,
    pods: users,
  };
}

/** The PersistentVolume that names an AoEVolume which does not exist. */
export function danglingOf({ persistentVolume, volume, isVolumeHidden }: Chain): PersistentVolume | undefined {
  return volume || isVolumeHidden ? undefined : persistentVolume;
}

async function chainOfVolume(reader: Reader, name: string): Promise<Chain> {
  const { object: volume, isHidden } = await reader.get<AoEVolume>(AOE_VOLUMES, name);
  if (!volume) throw missing(`AoEVolume ${name}`, isHidden);
  const persistentVolumes = await reader.list<PersistentVolume>(PERSISTENT_VOLUMES);
  const persistentVolume = persistentVolumes?.find((each) => handleOf(each) === name);
  const claimName = claimNameOf(volume, persistentVolume);
  // Pods use a volume through its claim. Without the PersistentVolumes there may be one that is not known.
  if (!claimName) return { persistentVolume, volumeName: name, volume, pods: persistentVolumes && [] };
  const found = await reader.get<Claim>(CLAIMS, claimName.name, claimName.namespace);
  const pods = await podsOf(reader, claimName);
  return {
    claimName,
    claim: found.object,
    isClaimGone: !found.object && !found.isHidden,
    persistentVolume,
    volumeName: name,
    volume,
    pods,
  };
}

/** The driver that is to make the volume of a claim; undefined when nothing says it. */
async function driverOf(reader: Reader, { metadata, spec }: Claim): Promise<string | undefined> {
  // Set by Kubernetes when it is the driver's turn.
  const asked = metadata.annotations?.['volume.kubernetes.io/storage-provisioner'];
  if (asked !== undefined || !spec.storageClassName) return asked;
  const { object: storageClass } = await reader.get<StorageClass>(STORAGE_CLASSES, spec.storageClassName);
  return storageClass?.provisioner;
}

async function podsOf(reader: Reader, { namespace, name }: ClaimName): Promise<Pod[] | undefined> {
  const pods = await reader.list<Pod>(PODS, { namespace });
  return pods?.filter((pod) => claimsOf(pod).includes(name));
}

function missing(what: string, isHidden: boolean): NotFoundError {
  return new NotFoundError(isHidden ? `${what} cannot be read` : `there is no ${what}`);
}

/**
 * The one volume of what a person named, for commands that do something to it.
 * @throws UsageError when there are several: none of them is taken by chance
 * @throws NotFoundError
 */
export async function findVolume(reader: Reader, text: string): Promise<Chain & { readonly volume: AoEVolume }> {
  const chains = await findChains(reader, parseSubject(text));
  if (chains.length > 1) {
    const all = chains.map(({ volumeName, claimName }) => `${volumeName ?? 'none yet'} (claim ${claimText(claimName)})`).join(', ');
    throw new UsageError(`"${text}" has several volumes: ${all}: name one of them`);
  }
  const [chain] = chains;
  if (!chain?.volume) throw new NotFoundError(`"${text}" has no AoEVolume that can be read`);
  return { ...chain, volume: chain.volume };
}
