import fc from 'fast-check';
import type { AoEVolume } from '../../../api/volume.ts';
import { Schedule } from './schedule.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
/** The node plugin asks more often. A time in the future that is no longer wrong when it asks for the first time is believed. */
const CHECK = 30 * MINUTE;
const START = Date.parse('2026-11-29T01:00:00Z');

const event = fc.oneof(
  { weight: 20, arbitrary: fc.record({ kind: fc.constant('pass' as const), minutes: fc.integer({ min: 1, max: 600 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('clock' as const), hours: fc.integer({ min: -9000, max: 9000 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('elsewhere' as const), hours: fc.integer({ min: -9000, max: 9000 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('no time' as const), text: fc.constantFrom(undefined, '', 'yesterday') }) },
);

test('whatever clocks and reports say, a process keeps the period between two runs, and lets no run wait longer than two', () => {
  const inputs = [fc.integer({ min: 1, max: 200 }), fc.uuid(), fc.array(event, { maxLength: 200 })] as const;
  fc.assert(
    fc.property(...inputs, (everyHours, uid, events) => {
      const every = everyHours * HOUR;
      const spread = Math.min(every / 10, 6 * HOUR);
      /** As the sun counts; the clock of the node is wrong by `wrongBy`. */
      let passed = 0;
      let wrongBy = 0;
      const clock = { now: () => passed, date: () => new Date(START + passed + wrongBy) };
      let schedule = new Schedule(clock);
      const volume: AoEVolume = {
        apiVersion: 'aoe.dev/v1alpha1',
        kind: 'AoEVolume',
        metadata: { name: 'v', uid, creationTimestamp: new Date(START).toISOString() },
        spec: { access: 'Exclusive', initiators: {}, reclaimEvery: `${everyHours}h` },
      };
      const reportAt = (finishedAt: string | undefined): void => {
        volume.status = { reclaim: { request: '', node: 'n', state: 'Done', ...(finishedAt === undefined ? {} : { finishedAt }) } };
      };
      /** When this process began the last run. */
      let own: number | undefined;
      /** Since when nothing but time passes. */
      let quietSince = 0;
      const check = (): void => {
        if (!schedule.isDue(volume)) {
          expect(passed - quietSince, 'it waits too long').toBeLessThan(2 * every + spread);
          return;
        }
        if (own !== undefined) expect(passed - own, 'again too early').toBeGreaterThanOrEqual(every);
        own = passed;
        quietSince = passed;
        schedule.ended(uid);
        reportAt(clock.date().toISOString());
        expect(schedule.isDue(volume), 'again at once').toBe(false);
      };
      check();
      for (const each of events) {
        if (each.kind === 'pass') {
          const end = passed + each.minutes * MINUTE;
          for (; passed + CHECK < end; passed += CHECK) check();
          passed = end;
        } else quietSince = passed;
        if (each.kind === 'clock') wrongBy = each.hours * HOUR;
        if (each.kind === 'elsewhere') reportAt(new Date(START + passed + each.hours * HOUR).toISOString());
        if (each.kind === 'no time') reportAt(each.text);
        if (each.kind === 'restart') {
          schedule = new Schedule(clock);
          own = undefined;
        }
        check();
      }
    }),
    { numRuns: 300 },
  );
});
