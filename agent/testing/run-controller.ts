import { pino } from 'pino';
import { Controller, type Result } from '../../kube/mod.ts';

/**
 * Runs a controller until the test ends.
 * @param release lets go, at the end, of what would hold its workers
 */
export function runController(
  work: { reconcile(key: string, signal: AbortSignal): Promise<Result | undefined> },
  { concurrency, release = () => {} }: { concurrency: number; release?: () => void },
): Controller {
  const reconcile = (key: string, signal: AbortSignal) => work.reconcile(key, signal);
  const controller = new Controller({ name: 'tested', log: pino({ level: 'silent' }), concurrency, reconcile });
  const stop = new AbortController();
  const running = controller.run(stop.signal);
  onTestFinished(async () => {
    release();
    stop.abort();
    await running;
  });
  return controller;
}
