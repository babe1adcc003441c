import { TargetError } from '../target/api.ts';
import { FakeTarget } from '../testing/fake-target.ts';
import { type Holder, instantOf } from './instant.ts';

const signal = new AbortController().signal;
const VOLUME = { uid: 'v', shelf: 7, slot: 3, path: '/x', serial: 'S', readOnly: false, bytes: 0, macs: [], writesNeedLock: false };

async function harness({ exported = true } = {}) {
  const target = new FakeTarget();
  if (exported) await target.export(VOLUME);
  const link = { connected: true, features: ['hold'] };
  const holder: Holder = {
    get connected() {
      return link.connected;
    },
    problem: 'connection refused',
    state: (uid) => target.volumes.get(uid),
    supports: (feature) => link.features.includes(feature),
    hold: (uid, _limitMs) => target.hold(uid),
    release: (uid, hold) => target.release(uid, hold),
  };
  return { target, link, instant: instantOf(holder, 'v', signal) };
}

test('a snapshot is made while the volume is held, and the hold is released', async () => {
  const { target, instant } = await harness();
  const before = new Date();
  const at = await instant(async () => expect(target.holds.has('v')).toBe(true));
  expect(at.getTime()).toBeGreaterThanOrEqual(before.getTime());
  expect(target.holds.size).toBe(0);
});

test('there is no instant when the hold ended before its release', async () => {
  const { target, instant } = await harness();
  await expect(instant(async () => target.holds.clear())).rejects.toMatchObject({ reason: 'NotHeld' });
});

test('a snapshot that cannot be made releases the volume, also when the target went away meanwhile', async () => {
  const { target, instant } = await harness();
  await expect(instant(() => Promise.reject(new Error('lvcreate')))).rejects.toThrow('lvcreate');
  expect(target.holds.size).toBe(0);
  const failing = instant(async () => {
    target.failing.set('release', new TargetError('unavailable', 'gone'));
    throw new Error('lvcreate');
  });
  await expect(failing).rejects.toThrow('lvcreate');
});

test('nothing is made while the target is away, refuses, or is too old', async () => {
  const { target, link, instant } = await harness();
  let made = 0;
  const make = async (): Promise<void> => void made++;
  link.features = [];
  await expect(instant(make)).rejects.toMatchObject({ reason: 'TargetTooOld' });
  link.features = ['hold'];
  target.failing.set('hold', new TargetError('failed', 'it is held already'));
  await expect(instant(make)).rejects.toMatchObject({ reason: 'NotHeld' });
  target.failing.set('hold', new TargetError('unavailable', 'gone'));
  await expect(instant(make)).rejects.toMatchObject({ reason: 'TargetUnavailable' });
  link.connected = false;
  await expect(instant(make)).rejects.toMatchObject({ reason: 'TargetUnavailable' });
  expect(made).toBe(0);
});

test('the release of a target that went away meanwhile does not count', async () => {
  const { target, instant } = await harness();
  const away = instant(async () => void target.failing.set('release', new TargetError('unavailable', 'gone')));
  await expect(away).rejects.toMatchObject({ reason: 'TargetUnavailable' });
});

test('a volume that is not exported needs no hold, unless it is exported meanwhile', async () => {
  const { target, instant, link } = await harness({ exported: false });
  expect(await instant(async () => {})).toBeInstanceOf(Date);
  expect(target.calls).not.toContain('hold');
  await expect(instant(async () => void (await target.export(VOLUME)))).rejects.toMatchObject({ reason: 'NotHeld' });
  await target.unexport('v');
  await expect(
    instant(async () => {
      link.connected = false;
    }),
  ).rejects.toMatchObject({ reason: 'NotHeld' });
});
