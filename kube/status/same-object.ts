import { setTimeout as delay } from 'node:timers/promises';
import { isConflict, isNotFound } from '../client/error.ts';
import type { KubeObject } from '../client/types.ts';

const TRIES = 8;
const FIRST_PAUSE_MS = 10;

export interface SameObject<T extends KubeObject> {
  /** Writes on condition that the object still has this metadata.resourceVersion. */
  write: (resourceVersion: string | undefined) => Promise<T>;
  /** The object of this name as the API server has it now. */
  read: () => Promise<T | undefined>;
  /** Whether it is still to be written over what others have written meanwhile; always, when absent. */
  still?: ((now: T) => boolean) | undefined;
  signal: AbortSignal;
}

/**
 * Writes to the status of exactly this object, whatever others write at the same time. The API server does not compare
 * metadata.uid on the status subresource (registry strategies copy the stored metadata over the given one), so that a namesake
 * made anew would get what was meant for the old object; it does compare metadata.resourceVersion.
 * @param before the object that the write was decided on
 * @returns what the server has now; undefined when that object is gone, or it is not to be written any more
 * @throws KubeError 409 when others changed it each time that it was tried
 */
export async function writeToSame<T extends KubeObject>(before: T, { write, read, still, signal }: SameObject<T>): Promise<T | undefined> {
  let version = before.metadata.resourceVersion;
  for (let tries = 1; ; tries++) {
    try {
      return await write(version);
    } catch (error) {
      if (isNotFound(error)) return undefined;
      if (!isConflict(error) || tries === TRIES) throw error;
    }
    if (tries > 1) await delay(FIRST_PAUSE_MS * 2 ** tries, undefined, { signal });
    const now = await read();
    if (!now || now.metadata.uid !== before.metadata.uid || still?.(now) === false) return undefined;
    version = now.metadata.resourceVersion;
  }
}
