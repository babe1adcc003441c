import { VolumeMemories } from './memory.ts';

const { signal } = new AbortController();

function memories() {
  const clock = { now: 0 };
  return { clock, it: new VolumeMemories({ signal, schedule: { now: () => clock.now, random: () => 0.5 } }) };
}

test('a volume has one memory, and begins with a new one after it was forgotten', () => {
  const { it } = memories();
  const memory = it.of('u-1', 'v1');
  for (let i = 0; i < 3; i++) memory.addressSchedule.probed({ conflict: false });
  memory.namedMacs.add('02:00:00:00:00:01');
  expect(it.of('u-1', 'v1')).toBe(memory);
  expect(memory.addressSchedule.waitMs).toBe(60_000);
  it.forget('u-1');
  const next = it.of('u-1', 'v1');
  next.addressSchedule.probed({ conflict: false });
  expect([next.addressSchedule.waitMs, next.namedMacs.size]).toStrictEqual([1_000, 0]);
});

test('volumes that had a name are forgotten, but for the one that has it now, and those whose data is worked on', async () => {
  const { it } = memories();
  const gate = Promise.withResolvers<never>();
  const [gone, busy, now, other] = [it.of('u-1', 'v1'), it.of('u-2', 'v1'), it.of('u-3', 'v1'), it.of('u-4', 'v2')];
  await busy.data.run(() => gate.promise, { patienceMs: 0, ended: () => {} });
  it.forgetName('v1', { except: 'u-3' });
  expect(it.of('u-1', 'v1')).not.toBe(gone);
  expect(it.of('u-2', 'v1')).toBe(busy);
  expect(it.of('u-3', 'v1')).toBe(now);
  expect(it.of('u-4', 'v2')).toBe(other);
  gate.reject(new Error('stopped'));
  await it.idle();
});

test('a disk may be opened again when it never was, and not soon after it was', () => {
  const { it } = memories();
  const memory = it.of('u-1', 'v1');
  expect([memory.isReopenDue, memory.isReopenDue]).toStrictEqual([true, true]);
  memory.reopened();
  expect(memory.isReopenDue).toBe(false);
});
