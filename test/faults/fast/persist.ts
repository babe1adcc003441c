import { setTimeout as delay } from 'node:timers/promises';
import { RpcError } from '../../../rpc/mod.ts';

/** Until a call of the attacher or the node plugin has succeeded, even during a disturbance. */
const LIMIT_MS = 180_000;
/** Between two attempts, doubled up to the second. */
const RETRY_MS = [5, 160] as const;

/** Tries until it succeeds, as Kubernetes does. */
export async function persist<T>(what: string, work: () => Promise<T>, limitMs = LIMIT_MS): Promise<T> {
  const deadline = performance.now() + limitMs;
  const [first, last] = RETRY_MS;
  for (let pause: number = first; ; pause = Math.min(pause * 2, last)) {
    try {
      return await work();
    } catch (error) {
      const said = error instanceof RpcError ? `${error.code} ${error.message}` : String(error);
      if (performance.now() > deadline) throw new Error(`${limitMs / 1000} s are over for: ${what}; at last: ${said}`, { cause: error });
    }
    await delay(pause);
  }
}
