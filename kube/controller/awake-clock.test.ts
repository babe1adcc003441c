import { AwakeClock } from './awake-clock.ts';

test('time counts while the process works, and a long gap counts only for a step', () => {
  const world = { now: 1_000 };
  const clock = new AwakeClock({ now: () => world.now, maxStepMs: 15_000 });
  expect(clock.now()).toBe(0);
  for (let i = 0; i < 4; i++) {
    world.now += 10_000;
    clock.now();
  }
  expect(clock.now()).toBe(40_000);
  world.now += 3_600_000;
  expect(clock.now()).toBe(55_000);
  world.now += 5_000;
  expect(clock.now()).toBe(60_000);
});

test('it counts by itself', async () => {
  const world = { now: 0 };
  const clock = new AwakeClock({ now: () => world.now++, tickMs: 1, maxStepMs: 1 });
  while (clock.now() < 100) await new Promise((resolve) => setImmediate(resolve));
  expect(clock.now()).toBeGreaterThanOrEqual(100);
});
