import { AddressWatch } from './schedule.ts';

function watch(random = () => 0.5) {
  const clock = { now: 1000 };
  const it = new AddressWatch({ now: () => clock.now, random });
  const wait = (): number => {
    const ms = it.waitMs('a');
    clock.now += ms;
    expect(it.isDue('a')).toBe(true);
    return ms;
  };
  return { it, clock, wait };
}

test('after an export the address is asked for soon, then each minute', () => {
  const { it, wait } = watch();
  const waits: number[] = [];
  for (let i = 0; i < 5; i++) {
    it.note('a', false);
    waits.push(wait());
  }
  expect(waits).toStrictEqual([1000, 5000, 60_000, 60_000, 60_000]);
});

test('a volume that was served before is asked for within seconds', () => {
  const { it, clock } = watch();
  expect(it.isDue('a')).toBe(false);
  clock.now += 1000;
  expect(it.isDue('a')).toBe(true);
});

test('a conflict is looked at each half minute', () => {
  const { it, wait } = watch();
  it.note('a', false);
  wait();
  it.note('a', true);
  expect(wait()).toBe(30_000);
});

test('no two volumes ask in step', () => {
  const spread = [0, 0.999].map((random) => {
    const { it } = watch(() => random);
    it.note('a', true);
    return it.waitMs('a');
  });
  expect(spread).toStrictEqual([22_500, 37_485]);
});

test('a volume that is forgotten starts anew', () => {
  const { it, wait } = watch();
  for (let i = 0; i < 3; i++) {
    it.note('a', false);
    wait();
  }
  it.forget('a');
  it.note('a', false);
  expect(it.waitMs('a')).toBe(1000);
});
