import type { KubeObject } from '../client/types.ts';
import { retryOnConflict } from './retry-on-conflict.ts';

export interface SameObject<T extends KubeObject> {
  /** Writes on condition that the object still has this metadata.resourceVersion. */
  write: (resourceVersion: string | undefined) => Promise<T>;
  /** The object of this name as the API server has it now. */
  read: () => Promise<T | undefined>;
  /** Whether it is still to be written after others have changed the object; always, when absent. */
  still?: ((now: T) => boolean) | undefined;
  signal: AbortSignal;
}

/**
 * Writes to the status of exactly this object, whatever others write at the same time. On the status subresource the API server
 * compares metadata.resourceVersion, but not metadata.uid (registry strategies copy the stored metadata over the given one; see
 * test/apiserver/kube-client.test.ts). So without the version, a new object of the same name would get what was meant for the old.
 * @param before the object that the write was decided on
 * @returns the object as the server has it now; undefined when it is gone, or is not to be written any longer
 * @throws KubeError 409 when others changed the object at each attempt; the signal's reason
 */
export function writeToSame<T extends KubeObject>(before: T, { write, read, still, signal }: SameObject<T>): Promise<T | undefined> {
  return retryOnConflict(before, {
    write: ({ metadata }) => write(metadata.resourceVersion),
    read: async () => {
      const now = await read();
      return now && now.metadata.uid === before.metadata.uid && still?.(now) !== false ? now : undefined;
    },
    signal,
  });
}
