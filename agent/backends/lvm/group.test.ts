import { FakeLvm } from '../../testing/fake-lvm.ts';
import { LvmCli } from './command/cli.ts';

const { signal } = new AbortController();
const MiB = 1 << 20;

/** The fake group with volumes of 4 MiB. */
function group(...names: string[]) {
  const fake = new FakeLvm();
  for (const name of names) fake.volumes.set(name, { name, bytes: 4 * MiB, tags: ['aoe.dev', 'old'], active: true, layout: 'linear' });
  return { fake, group: new LvmCli(fake.run, 'x').group(fake.group) };
}

test('a report serves all who ask while it is young enough, and those who wait for the turn', async () => {
  const { fake, group: it } = group('a');
  await Promise.all(Array.from({ length: 5 }, () => it.read(0, signal)));
  // The first of them began before the others asked.
  expect(fake.calls).toStrictEqual(['vgs', 'vgs']);
  await it.read(60_000, signal);
  expect(fake.calls).toHaveLength(2);
  await it.read(0, signal);
  expect(fake.calls).toHaveLength(3);
});

test('volumes that are removed at the same time are removed by one command, and their space is free', async () => {
  const { fake, group: it } = group('a', 'b', 'c');
  const { free } = await it.read(0, signal);
  await Promise.all(['a', 'b'].map((name) => it.remove(name, signal)));
  expect(fake.calls).toStrictEqual(['vgs', 'vgs', 'lvremove']);
  expect(await it.read(60_000, signal)).toMatchObject({ free: free + 8 * MiB, volumes: [{ name: 'c' }] });
  expect([...fake.volumes.keys()]).toStrictEqual(['c']);
});

test('one that cannot be removed does not keep the others, and each has its own error', async () => {
  const { fake, group: it } = group('a', 'busy', 'c');
  fake.open.add('busy');
  await it.read(0, signal);
  const [a, busy, c, gone] = await Promise.allSettled(['a', 'busy', 'c', 'gone'].map((name) => it.remove(name, signal)));
  expect([a?.status, c?.status, gone?.status]).toStrictEqual(['fulfilled', 'fulfilled', 'fulfilled']);
  expect(busy).toMatchObject({ reason: { reason: 'BackingBusy', message: expect.stringMatching(/^removing logical volume vg0\/busy: /) } });
  expect([...fake.volumes.keys()]).toStrictEqual(['busy']);
  expect(await it.read(60_000, signal)).toMatchObject({ free: fake.free(), volumes: [{ name: 'busy' }] });
});

test('a removal whose answer is lost is no failure', async () => {
  for (const names of [['a'], ['a', 'b']]) {
    const { fake, group: it } = group(...names);
    await it.read(0, signal);
    fake.crash = { when: 'after', command: 'lvremove' };
    await Promise.all(names.map((name) => it.remove(name, signal)));
    expect(fake.volumes.size).toBe(0);
  }
});

test('a volume whose mark was taken off since the last report is kept', async () => {
  const { fake, group: it } = group('a', 'b');
  await it.read(0, signal);
  fake.volumes.set('a', { name: 'a', bytes: 4 * MiB, tags: [], active: true, layout: 'linear' });
  await Promise.all(['a', 'b'].map((name) => it.remove(name, signal)));
  expect([...fake.volumes.keys()]).toStrictEqual(['a']);
});

test('a copy-on-write snapshot that a person has made since the last report is kept, and with it its volume', async () => {
  for (const names of [['a'], ['a', 'b']]) {
    const { fake, group: it } = group('a', 'b');
    await it.read(0, signal);
    fake.volumes.set('backup', { name: 'backup', bytes: 4 * MiB, tags: [], active: true, layout: 'linear', origin: 'a' });
    const [first] = await Promise.allSettled(names.map((name) => it.remove(name, signal)));
    const message = expect.stringMatching(/a cannot be removed now: logical volume vg0\/backup is a copy-on-write snapshot/);
    expect(first).toMatchObject({ reason: { reason: 'BackingBusy', message } });
    expect([...fake.volumes.keys()]).toStrictEqual(names.length === 1 ? ['a', 'b', 'backup'] : ['a', 'backup']);
  }
});

test('the same change of tags is one command, and one that fails does not keep the others', async () => {
  const { fake, group: it } = group('a', 'b', 'c');
  const { volumes } = await it.read(0, signal);
  fake.volumes.delete('b');
  const marked = volumes.map((volume) => it.mark({ volume, off: ['old'], on: volume.name === 'c' ? ['other'] : ['new'] }, signal));
  const [a, b, c] = await Promise.allSettled(marked);
  expect(a).toMatchObject({ value: { tags: ['aoe.dev', 'new'] } });
  expect(b).toMatchObject({ reason: { message: expect.stringMatching(/^changing the tags of logical volume vg0\/b: Failed to find/) } });
  expect(c).toMatchObject({ value: { tags: ['aoe.dev', 'other'] } });
  expect([fake.volumes.get('a')?.tags, fake.volumes.get('c')?.tags]).toStrictEqual([
    ['aoe.dev', 'new'],
    ['aoe.dev', 'other'],
  ]);
  expect(fake.calls).toStrictEqual(['vgs', 'lvchange', 'lvchange', 'lvchange', 'lvchange']);
});

test('after a command that failed, and after a change of a volume that is not linear, the group is reported again', async () => {
  const { fake, group: it } = group('a');
  const { volumes } = await it.read(0, signal);
  const [volume] = volumes;
  if (!volume) throw new Error('no volume');
  it.note({ ...volume, name: 'thin', pool: 'tp', layout: ['thin', 'sparse'] });
  expect(it.get('thin')).toMatchObject({ pool: 'tp' });
  await it.read(60_000, signal);
  await it.turn(() => it.change('lvremove', ['vg0/none']).catch(() => {}), signal);
  expect(it.get('a')).toBeUndefined();
  await it.read(60_000, signal);
  expect(fake.calls).toStrictEqual(['vgs', 'vgs', 'lvremove', 'vgs']);
});
