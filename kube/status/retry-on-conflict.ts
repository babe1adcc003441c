import { isConflict, isNotFound } from '../client/error.ts';
import { CLOCK } from '../clock.ts';

const TRIES = 8;
/** Pause before the third attempt, doubled for each one after it, in milliseconds. The second attempt follows at once. */
const FIRST_PAUSE_MS = 20;

export interface Attempts<T, R> {
  /** Decides on a change of the object, and writes it on condition of the object's metadata.resourceVersion. */
  write: (current: T) => Promise<R>;
  /** The object as the API server has it now; undefined when it is not to be written to any longer. */
  read: () => Promise<T | undefined>;
  signal: AbortSignal;
}

/**
 * Writes to an object that others write to at the same time: after a conflict the object is read and the change decided on again,
 * as client-go's RetryOnConflict does.
 * @param first the object as it was read last
 * @returns undefined when the object is gone
 * @throws KubeError 409 when others changed the object at each attempt; the signal's reason; whatever `write` and `read` throw
 */
export async function retryOnConflict<T, R>(first: T, { write, read, signal }: Attempts<T, R>): Promise<R | undefined> {
  let current = first;
  for (let tries = 1; ; tries++) {
    try {
      return await write(current);
    } catch (error) {
      if (isNotFound(error)) return undefined;
      if (!isConflict(error) || tries === TRIES) throw error;
    }
    if (tries > 1) await CLOCK.sleep(FIRST_PAUSE_MS * 2 ** (tries - 2), signal);
    const now = await read();
    if (now === undefined) return undefined;
    current = now;
  }
}
