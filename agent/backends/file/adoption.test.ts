import { link, mkdir, mkdtemp, readdir, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MiB } from '../../../api/quantity.ts';
import { crashing } from '../../testing/crashing-file-system.ts';
import type { OwnerOf } from '../backend.ts';
import { FileBackend } from './backend.ts';
import { type FileSystem, nodeFileSystem } from './file-system.ts';

const signal = new AbortController().signal;
const request = { uid: 'u-1', name: 'pvc-1', bytes: 3 * MiB, from: 'old.raw' };
const nobody: OwnerOf = async () => undefined;

/** The directory of a pool with file `old.raw`, which an administrator put there. */
async function folder(from = 'old.raw'): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), 'aoe-adopt-'));
  onTestFinished(() => rm(made, { recursive: true, force: true }));
  await writeFile(join(made, from), 'what was there before');
  await truncate(join(made, from), 3 * MiB);
  return made;
}

const open = (directory: string, fs: FileSystem = nodeFileSystem): FileBackend =>
  new FileBackend({ pool: 'p1', directory, expected: () => [], reserve: '0', fs });
const adopt = (directory: string, changed: Partial<typeof request> = {}, ownerOf = nobody) =>
  open(directory).adoption.adopt({ ...request, ...changed }, ownerOf, signal);
const names = async (directory: string): Promise<string[]> => (await readdir(directory)).filter((name) => name !== '.aoe-pool').sort();
const content = async (path: string): Promise<string> => (await readFile(path, 'latin1')).slice(0, 21);

test('a file is adopted, found again, and given back under its old name with its content', async () => {
  const directory = await folder();
  const adopted = await adopt(directory);
  expect(adopted).toStrictEqual({ uid: 'u-1', name: join(directory, 'u-1.img'), bytes: 3 * MiB, adopted: join(directory, 'old.raw') });
  expect(await adopt(directory), 'again').toStrictEqual(adopted);
  expect(await open(directory).open('u-1')).toStrictEqual(adopted);
  expect((await open(directory).measure(signal)).volumes).toMatchObject([{ uid: 'u-1', volume: 'pvc-1', bytes: 3 * MiB }]);
  expect(await content(adopted.name)).toBe('what was there before');
  await open(directory).retain('u-1');
  await open(directory).retain('u-1');
  expect(await names(directory)).toStrictEqual(['old.raw']);
  expect(await content(join(directory, 'old.raw'))).toBe('what was there before');
});

test('an adopted file is removed with all that is beside it when that is asked for', async () => {
  const directory = await folder();
  await adopt(directory);
  await open(directory).remove('u-1');
  expect(await names(directory)).toStrictEqual([]);
});

test('an orphan is adopted, and the data of an AoEVolume is not', async () => {
  const directory = await folder('u-9.img');
  await expect(adopt(directory, { from: 'u-9.img' }, async () => 'pvc-9')).rejects.toMatchObject({
    reason: 'AdoptionOfOther',
    message: expect.stringContaining('belongs to AoEVolume pvc-9'),
  });
  expect(await adopt(directory, { from: 'u-9.img' })).toMatchObject({ uid: 'u-1', adopted: join(directory, 'u-9.img') });
  await expect(adopt(directory, { uid: 'u-2', from: 'u-9.img' })).rejects.toMatchObject({
    reason: 'NothingToAdopt',
    message: expect.stringContaining('is called u-1.img now'),
  });
});

test('an orphan that is given back is no orphan any more, and keeps no AoEVolume from being made', async () => {
  const directory = await folder('u-9.img');
  await writeFile(join(directory, 'u-9.img.volume'), 'pvc-1\n');
  const backend = open(directory);
  await adopt(directory, { from: 'u-9.img' });
  for (let again = 0; again < 2; again++) await open(directory).retain('u-1');
  expect(await content(join(directory, 'u-9.img.retained'))).toBe('what was there before');
  expect((await backend.measure(signal)).volumes).toStrictEqual([]);
  expect(await backend.namesakes({ uid: 'u-2', name: 'pvc-1' }, signal)).toStrictEqual([]);
  // A file of a person's own may be called so, too.
  const other = await folder('projects.img');
  await adopt(other, { from: 'projects.img' });
  await open(other).retain('u-1');
  expect(await names(other)).toStrictEqual(['projects.img']);
});

describe('refused, and nothing is changed:', () => {
  const cases: [string, (directory: string) => Promise<Partial<typeof request>>, { reason: string; message: RegExp }][] = [
    ['a file that is not there', async () => ({ from: 'other' }), { reason: 'NothingToAdopt', message: /no file .*other/ }],
    ['another size', async () => ({ bytes: 4 * MiB }), { reason: 'AdoptionSize', message: /has 3Mi .* spec\.capacity is 4Mi/ }],
    [
      'a link',
      async (directory) => {
        await symlink('old.raw', join(directory, 'linked'));
        return { from: 'linked' };
      },
      { reason: 'NotAdoptable', message: /no regular file/ },
    ],
    [
      'a directory',
      async (directory) => {
        await mkdir(join(directory, 'inner'));
        return { from: 'inner' };
      },
      { reason: 'NotAdoptable', message: /no regular file/ },
    ],
    [
      'a file with two names',
      async (directory) => {
        await link(join(directory, 'old.raw'), join(directory, 'second'));
        return {};
      },
      { reason: 'NotAdoptable', message: /2 names/ },
    ],
    [
      'a part of a sector at the end',
      async (directory) => {
        await truncate(join(directory, 'old.raw'), 1000);
        return { bytes: 1000 };
      },
      { reason: 'NotAdoptable', message: /no multiple of 512/ },
    ],
    ...['../old.raw', 'a/b', '..', '.aoe-pool', '-x', '', 'u-1.img.volume', 'u-9.img.new'].map(
      (from): [string, () => Promise<Partial<typeof request>>, { reason: string; message: RegExp }] => [
        `the name "${from}"`,
        async () => ({ from }),
        { reason: 'NotAdoptable', message: /a name that no volume can have/ },
      ],
    ),
    [
      'the data of an AoESnapshot',
      async (directory) => {
        await writeFile(join(directory, 'snap-1.img'), 'x');
        return { from: 'snap-1.img' };
      },
      { reason: 'NotAdoptable', message: /AoESnapshot/ },
    ],
  ];
  for (const [what, prepare, { reason, message }] of cases) {
    test(what, async () => {
      const directory = await folder();
      const changed = await prepare(directory);
      const before = await names(directory);
      await expect(adopt(directory, changed)).rejects.toMatchObject({ reason, message: expect.stringMatching(message) });
      expect(await names(directory)).toStrictEqual(before);
    });
  }
});

test('a file does not get an old name back that another one has by now', async () => {
  const directory = await folder();
  await adopt(directory);
  await writeFile(join(directory, 'old.raw'), 'another');
  await expect(open(directory).retain('u-1')).rejects.toMatchObject({ message: expect.stringContaining('there is another') });
  expect(await content(join(directory, 'u-1.img'))).toBe('what was there before');
  await rm(join(directory, 'old.raw'));
  await open(directory).retain('u-1');
  expect(await names(directory)).toStrictEqual(['old.raw']);
});

for (const when of ['before', 'after'] as const) {
  test(`a crash ${when} any step of an adoption and of a release loses nothing, and is made up for`, async () => {
    for (let at = 1, isLast = false; !isLast; at++) {
      for (const goesOn of [true, false]) {
        const directory = await folder();
        isLast = true;
        const step = async (work: (backend: FileBackend) => Promise<unknown>): Promise<void> => {
          const { fs, steps } = crashing(at, when);
          await work(open(directory, fs)).catch(() => {});
          if (steps() >= at) isLast = false;
        };
        await step((backend) => backend.adoption.adopt(request, nobody, signal));
        if (goesOn) {
          const { name } = await adopt(directory);
          expect(await content(name)).toBe('what was there before');
        }
        await step((backend) => backend.retain('u-1'));
        await open(directory).retain('u-1');
        expect(await content(join(directory, 'old.raw'))).toBe('what was there before');
        expect((await names(directory)).filter((name) => name.endsWith('.img'))).toStrictEqual([]);
      }
    }
  });
}
