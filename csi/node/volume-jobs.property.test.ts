import { setImmediate } from 'node:timers/promises';
import fc from 'fast-check';
import { Code } from '../../rpc/status.ts';
import { VolumeJobs } from './volume-jobs.ts';

const PLACES = 2;
const volume = fc.constantFrom('v1', 'v2', 'v3', 'v4');
const event = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('call' as const), volume, operation: fc.constantFrom('stage', 'unstage') }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('give up' as const), nth: fc.nat(20) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('end' as const), nth: fc.nat(20), fails: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('publish' as const), volume }) },
);

interface Running {
  volume: string;
  end: PromiseWithResolvers<void>;
}

test('whatever the order of calls, at most a few jobs run, one per volume, every call is answered, and each outcome is reported', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(event, { maxLength: 60 }), async (events) => {
      const jobs = new VolumeJobs('n1', PLACES);
      const running: Running[] = [];
      const calls: { caller: AbortController; answer: Promise<unknown> }[] = [];
      let [begun, ended, open] = [0, 0, 0];
      const work = async (name: string): Promise<void> => {
        const run = { volume: name, end: Promise.withResolvers<void>() };
        begun++;
        expect(running.some((each) => each.volume === name)).toBe(false);
        running.push(run);
        expect(running.length).toBeLessThanOrEqual(PLACES);
        try {
          await run.end.promise;
        } finally {
          running.splice(running.indexOf(run), 1);
          ended++;
        }
      };
      const call = (name: string, operation: string): void => {
        const caller = new AbortController();
        open++;
        const answer = jobs
          .queue({ volumeId: name, operation, args: '' }, () => work(name), caller.signal)
          .catch((error: { code?: number; message: string }) => {
            const isKnown = error.message === 'failed' || error.code === Code.ABORTED || error.code === Code.DEADLINE_EXCEEDED;
            expect(isKnown, error.message).toBe(true);
          })
          .finally(() => open--);
        calls.push({ caller, answer });
      };
      for (const each of events) {
        if (each.kind === 'call') call(each.volume, each.operation);
        if (each.kind === 'give up') calls[each.nth % calls.length]?.caller.abort();
        if (each.kind === 'publish') await jobs.run(each.volume, 'publish', async () => {}).catch(() => {});
        const run = each.kind === 'end' ? running[each.nth % running.length] : undefined;
        if (each.kind === 'end' && each.fails) run?.end.reject(new Error('failed'));
        else run?.end.resolve();
        await setImmediate();
      }
      // All that still waits gets its turn, and an answer.
      while (running.length > 0) {
        running[0]?.end.resolve();
        await setImmediate();
      }
      await Promise.all(calls.map(({ answer }) => answer));
      expect([begun - ended, open]).toStrictEqual([0, 0]);
    }),
  );
});
