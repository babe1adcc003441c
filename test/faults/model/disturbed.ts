import { setTimeout as delay } from 'node:timers/promises';
import type { Timing } from './plan.ts';

/** Ends a disturbance. Is called once. */
export type Undo = () => void | Promise<void>;

/** Does work beside a disturbance. The disturbance ends after its time, or at once when the work fails. */
export async function whileDisturbed(
  begin: () => Undo | Promise<Undo>,
  { after, seconds }: Timing,
  work: () => Promise<void>,
): Promise<void> {
  const over = new AbortController();
  const pause = (time: number) => delay(time * 1000, undefined, { signal: over.signal }).catch(() => {});
  const disturb = async () => {
    await pause(after);
    const undo = await begin();
    await pause(seconds);
    await undo();
  };
  const disturbed = disturb();
  try {
    await Promise.all([work(), disturbed]);
  } finally {
    over.abort();
    // Its error is in Promise.all, unless the work failed first.
    await disturbed.catch(() => {});
  }
}
