import { isDeepStrictEqual } from 'node:util';
import type { Condition } from '../../api/meta.ts';
import { AOE_VOLUMES, API_VERSION } from '../../api/resources.ts';
import type { AoEVolume, AoEVolumeStatus } from '../../api/volume.ts';
import { VolumeCondition } from '../../api/volume.ts';
import { type Kube, setCondition, writeToSame } from '../../kube/mod.ts';

export const FIELD_MANAGER = 'aoe-csi-agent';

/** Conditions that this program writes; all others are somebody else's. */
const OURS: readonly string[] = [
  VolumeCondition.Provisioned,
  VolumeCondition.Exported,
  VolumeCondition.AddressConflict,
  VolumeCondition.EnforcedByTarget,
  VolumeCondition.Locked,
];

type Status = Pick<AoEVolumeStatus, 'capacity' | 'serial' | 'paths' | 'initiators' | 'holder'> & { conditions: Condition[] };

/** The agent's part of a volume's status: starts as it was last written, is changed, and is written when it differs. */
export class VolumeStatus {
  readonly #volume: AoEVolume;
  readonly #before: Status;
  readonly now: Status;

  constructor(volume: AoEVolume) {
    this.#volume = volume;
    this.#before = ourPart(volume);
    this.now = structuredClone(this.#before);
  }

  condition(type: string, status: Condition['status'], reason: string, message: string): void {
    const { generation } = this.#volume.metadata;
    const next = setCondition(this.now.conditions, {
      type,
      status,
      reason,
      message,
      ...(generation === undefined ? {} : { observedGeneration: generation }),
    });
    this.now.conditions = [...this.now.conditions.filter((condition) => condition.type !== type), next].sort((a, b) =>
      a.type < b.type ? -1 : 1,
    );
  }

  get(type: string): Condition | undefined {
    return this.now.conditions.find((condition) => condition.type === type);
  }

  /**
   * Writes what changed.
   * @returns the volume as the API server has it now; undefined when it is gone
   */
  async write(kube: Pick<Kube, 'apply' | 'get'>, signal: AbortSignal): Promise<AoEVolume | undefined> {
    if (isDeepStrictEqual(this.now, this.#before)) return this.#volume;
    const { name } = this.#volume.metadata;
    return writeToSame(this.#volume, {
      write: async (resourceVersion) => {
        const metadata = { name, ...(resourceVersion ? { resourceVersion } : {}) };
        const object = { apiVersion: API_VERSION, kind: AOE_VOLUMES.kind, metadata, status: this.now };
        const options = { fieldManager: FIELD_MANAGER, force: true, subresource: 'status', signal } as const;
        return (await kube.apply(AOE_VOLUMES, object, options)) as unknown as AoEVolume;
      },
      read: () => kube.get<AoEVolume>(AOE_VOLUMES, name, { signal }),
      signal,
    });
  }
}

function ourPart({ status }: AoEVolume): Status {
  const { capacity, serial, paths, initiators, holder } = status ?? {};
  const part: Status = {
    conditions: (status?.conditions ?? []).filter(({ type }) => OURS.includes(type)).sort((a, b) => (a.type < b.type ? -1 : 1)),
  };
  if (capacity !== undefined) part.capacity = capacity;
  if (serial !== undefined) part.serial = serial;
  if (paths !== undefined) part.paths = paths;
  if (initiators !== undefined) part.initiators = initiators;
  if (holder !== undefined) part.holder = holder;
  return structuredClone(part);
}

/** The disk's IDENTIFY serial: the first 20 hexadecimal digits of the volume's UID. */
export function serialForUid(uid: string): string {
  return uid.replaceAll('-', '').slice(0, 20).toUpperCase();
}
