import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import fc from 'fast-check';
import { type AoEVolume, RECLAIM } from '../../../api/volume.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import { mountOf, setUp } from '../testing/calls.ts';
import { FreeSpaceRuns } from './runs.ts';
import type { Zeroed } from './zero-free-space.ts';

const event = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('ask' as const), request: fc.constantFrom('a', 'b', 'c') }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('check' as const) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('end' as const), fails: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('unmount' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('API server' as const), answers: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('schedule' as const), every: fc.constantFrom('1h', '24h', undefined) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('time' as const), hours: fc.constantFrom(1, 30) }) },
);

test('whatever happens in between, one run goes on at a time, none after an unmount has begun, and the last request is answered', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(event, { maxLength: 40 }), async (events) => {
      const it = setUp();
      const { node } = it;
      await it.stage(mountOf());
      const volume = node.volumes.items.get('v1') ?? assert.fail();
      volume.status = { ...volume.status, reclaimsZeros: true };
      const clock = { passed: 0, now: () => clock.passed, date: () => new Date(Date.parse('2026-11-29T01:00:00Z') + clock.passed) };
      let answers = true;
      let wasScheduled = false;
      const record = node.volumes.record.bind(node.volumes);
      node.volumes.record = (...args) => (answers ? record(...args) : Promise.reject(new RpcError(Code.UNAVAILABLE, 'away')));
      /** Runs of the node plugin that goes on. */
      let running: { process: object; done: PromiseWithResolvers<Zeroed> }[] = [];
      const results = new Map<string, number>();
      const start = () => {
        const process = {};
        return new FreeSpaceRuns(node.deps, {
          zero: ({ path }, { signal, onKilled }) => {
            expect(path).toBe(it.stagingTargetPath);
            expect(running.filter((each) => each.process === process)).toStrictEqual([]);
            const run = { process, done: Promise.withResolvers<Zeroed>() };
            running.push(run);
            const leave = (): void => {
              running = running.filter((each) => each !== run);
            };
            run.done.promise.finally(leave).catch(() => {});
            signal.addEventListener('abort', () => {
              onKilled?.(Promise.resolve());
              run.done.reject(signal.reason);
            });
            return run.done.promise;
          },
          clock,
          emit: (_volume, _type, reason) => results.set(reason, (results.get(reason) ?? 0) + 1),
        });
      };
      let runs = start();
      const checks = new Set<Promise<void>>();
      const check = (): void => {
        const one = runs.check('v1', structuredClone(volume) as AoEVolume).finally(() => checks.delete(one));
        checks.add(one);
      };
      /** Waits until each check has ended, or waits for a run. */
      const settle = async (): Promise<void> => {
        do await setImmediate();
        while (checks.size > 0 && running.length === 0);
      };
      const restart = (): void => {
        // The programs notice that the node plugin is gone.
        running = [];
        checks.clear();
        runs = start();
      };
      for (const each of events) {
        if (each.kind === 'ask') volume.metadata.annotations = { [RECLAIM]: each.request };
        if (each.kind === 'check') check();
        if (each.kind === 'end' && each.fails) running[0]?.done.reject(new Error('EIO'));
        if (each.kind === 'end' && !each.fails) running[0]?.done.resolve({ bytes: 1, end: 'all' });
        if (each.kind === 'API server') answers = each.answers;
        if (each.kind === 'schedule') {
          volume.spec = { ...volume.spec, reclaimEvery: each.every };
          wasScheduled ||= each.every !== undefined;
        }
        if (each.kind === 'time') clock.passed += each.hours * 3_600_000;
        if (each.kind === 'restart') restart();
        if (each.kind === 'unmount') {
          await runs.stop('e7.3');
          expect(running).toStrictEqual([]);
          check();
          await settle();
          expect(running, 'none begins right after').toStrictEqual([]);
        }
        await settle();
        expect(running.length).toBeLessThanOrEqual(1);
      }
      answers = true;
      for (const { done } of running) done.resolve({ bytes: 1, end: 'all' });
      await settle();
      restart();
      for (let round = 0; round < 3; round++) {
        check();
        await settle();
        running[0]?.done.resolve({ bytes: 1, end: 'all' });
        await settle();
        // A scheduled run that was cut short waits.
        if (round === 0) clock.passed += 9 * 3_600_000;
      }
      const asked = volume.metadata.annotations?.[RECLAIM];
      const report = volume.status?.reclaim;
      if (!wasScheduled && asked === undefined) expect(report).toBeUndefined();
      if (report) expect(report.state).toMatch(/^(Done|Failed)$/);
      if (asked !== undefined)
        expect(volume.status?.reclaim).toMatchObject({ request: asked, state: expect.stringMatching(/^(Done|Failed)$/) });
      const inAll = [...results.values()].reduce((sum, count) => sum + count, 0);
      check();
      await settle();
      expect(running, 'what was answered is not done again').toStrictEqual([]);
      expect([...results.values()].reduce((sum, count) => sum + count, 0)).toBe(inAll);
    }),
    { numRuns: 60 },
  );
}, 60_000);
