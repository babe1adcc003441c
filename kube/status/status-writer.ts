import { isDeepStrictEqual } from 'node:util';
import type { Kube } from '../client/kube.ts';
import type { Condition, KubeObject, ResourceType } from '../client/types.ts';
import { type NextCondition, setCondition } from './conditions.ts';
import { writeToSame } from './same-object.ts';

/** The part of a status that one field manager owns, as it is to be. */
export interface StatusPart<T extends KubeObject = KubeObject> {
  /** Name of the field manager. Fields that it wrote earlier and that are no longer named here are removed. */
  manager: string;
  /** Its conditions. Transition times come from those that the object has. */
  conditions?: readonly NextCondition[] | undefined;
  /** Its other fields; `undefined` is for one that it owns and that is to be absent. */
  fields?: Readonly<Record<string, unknown>> | undefined;
  /**
   * What the object has now of fields that it shares with other managers, such as its own entries of a list that is merged by key.
   * Default: the whole field.
   */
  present?: Readonly<Record<string, unknown>> | undefined;
  /**
   * Writes whatever version the object has, without retries. Only for objects that many write to at once, and whose status is about
   * a thing of the same name, such as a node or a pool: a new object of that name would get the same status.
   */
  anyVersion?: boolean | undefined;
  /** Whether the status is still to be written after somebody else has changed the object; always, when absent. */
  still?: ((now: T) => boolean) | undefined;
  signal: AbortSignal;
}

/**
 * Writes this manager's part of an object's status, unless the object has it already. The write goes to exactly this object:
 * it is based on metadata.resourceVersion, and repeated on a newer version while metadata.uid stays the same. Callers do not compare:
 * they give the whole part at each reconcile.
 *
 * @example
 * const conditions = [{ type: 'Ready', status: 'True', reason: 'Exported', message: 'exported by node a' } as const];
 * await applyStatus(kube, AOE_VOLUMES, volume, { manager: 'aoe-csi-operator', conditions, fields: { phase: 'Ready' }, signal });
 * @returns the object as the API server has it now, or `object` itself when nothing was to be written; undefined when the object
 * is gone, or is not to be written any longer
 * @throws KubeError, 409 when others changed the object at each attempt; the signal's reason
 */
export async function applyStatus<T extends KubeObject & { status?: object | undefined }>(
  kube: Pick<Kube, 'apply' | 'get'>,
  type: ResourceType,
  object: T,
  { manager, conditions = [], fields = {}, present = {}, anyVersion = false, still, signal }: StatusPart<T>,
): Promise<T | undefined> {
  const before = (object.status ?? {}) as Record<string, unknown> & { conditions?: readonly Condition[] };
  const next = conditions.map((condition) => setCondition(before.conditions, condition));
  const has = (condition: Condition): boolean =>
    isDeepStrictEqual(
      condition,
      before.conditions?.find((each) => each.type === condition.type),
    );
  const isSame = (key: string): boolean => isDeepStrictEqual(fields[key], Object.hasOwn(present, key) ? present[key] : before[key]);
  if (next.every(has) && Object.keys(fields).every(isSame)) return object;
  const status = { ...fields, ...(next.length > 0 ? { conditions: next } : {}) };
  const { name, namespace } = object.metadata;
  return writeToSame(object, {
    write: (resourceVersion) => {
      const metadata = { name, ...(namespace ? { namespace } : {}), ...(resourceVersion && !anyVersion ? { resourceVersion } : {}) };
      return kube.apply<T>(type, { metadata, status }, { fieldManager: manager, force: true, subresource: 'status', signal });
    },
    read: () => kube.get<T>(type, name, { namespace, signal }),
    still,
    signal,
  });
}
