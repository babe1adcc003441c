import { AddressSchedule } from './schedule.ts';

function schedule(random = () => 0.5) {
  const clock = { now: 1000 };
  const it = new AddressSchedule({ now: () => clock.now, random });
  const wait = (): number => {
    const ms = it.waitMs;
    clock.now += ms;
    expect(it.isDue).toBe(true);
    return ms;
  };
  return { it, clock, wait };
}

test('after an export the address is probed soon, then each minute', () => {
  const { it, wait } = schedule();
  const waits: number[] = [];
  for (let i = 0; i < 5; i++) {
    it.probed({ conflict: false });
    waits.push(wait());
  }
  expect(waits).toStrictEqual([1000, 5000, 60_000, 60_000, 60_000]);
});

test('the address of a volume that was exported before the agent began is probed within seconds', () => {
  const { it, clock, wait } = schedule();
  expect(it.isDue).toBe(false);
  it.begin();
  expect(it.isDue).toBe(false);
  clock.now += 500;
  it.begin();
  clock.now += 500;
  expect(it.isDue).toBe(true);
  it.probed({ conflict: false });
  expect(wait()).toBe(5000);
});

test('asking whether a probe is due schedules nothing', () => {
  const { it, clock } = schedule();
  expect(it.isDue).toBe(false);
  clock.now += 100_000;
  expect(it.isDue).toBe(false);
  expect(it.waitMs).toBe(1);
});

test('while another target answers, the address is probed each half minute', () => {
  const { it, wait } = schedule();
  it.probed({ conflict: false });
  wait();
  it.probed({ conflict: true });
  expect(wait()).toBe(30_000);
});

test('silence lasts since the first of several probes in a row that found nobody', () => {
  const { it, clock } = schedule();
  const silentAfter = (probes: boolean[]) =>
    probes.map((isSilent) => {
      clock.now += 10_000;
      it.probed({ conflict: !isSilent, isSilent });
      return it.silentMs;
    });
  expect(silentAfter([true, true, true, true, true])).toStrictEqual([0, 0, 0, 30_000, 40_000]);
  expect(silentAfter([false, true, true, true, true])).toStrictEqual([0, 0, 0, 0, 30_000]);
});

test('a probe while the data is still being opened neither counts as silence nor ends it', () => {
  const { it, clock } = schedule();
  for (const isSilent of [true, undefined, true, undefined, true, undefined, true]) {
    clock.now += 10_000;
    it.probed({ conflict: false, isSilent });
  }
  expect(it.silentMs).toBe(60_000);
  it.probed({ conflict: true });
  expect(it.silentMs).toBe(0);
});

test('no two volumes probe in step', () => {
  const spread = [0, 0.999].map((random) => {
    const { it } = schedule(() => random);
    it.probed({ conflict: true });
    return it.waitMs;
  });
  expect(spread).toStrictEqual([22_500, 37_485]);
});
