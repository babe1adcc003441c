import { within } from './within.ts';

const never = new Promise<void>(() => {});
const HOUR_MS = 3_600_000;

test('a wait ends with what is waited for, with its time, or with the signal, whichever is first', async () => {
  await within(HOUR_MS, Promise.resolve());
  await within(1, never);
  const stop = new AbortController();
  const waiting = within(HOUR_MS, never, stop.signal);
  stop.abort();
  await waiting;
  await within(HOUR_MS, never, stop.signal);
  await expect(within(HOUR_MS, Promise.reject(new Error('no')))).rejects.toThrow('no');
});
