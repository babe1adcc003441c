import type { AoEPool } from '../../api/pool.ts';
import { HungFileSystem } from '../testing/hung-file-system.ts';
import { FileBackend } from './file/backend.ts';
import { DirectoryGates } from './file/directory-gates.ts';
import { Directories } from './file/directory-state.ts';
import { LvmLinearBackend } from './lvm/linear.ts';
import { LvmThinBackend } from './lvm/thin.ts';
import { BackendRegistry } from './registry.ts';

const { signal } = new AbortController();
const pool = (name: string, spec: object): AoEPool => ({ metadata: { name }, spec }) as never;
const registry = (options: { directories?: Directories } = {}) =>
  BackendRegistry.ofNode(async () => ({ stdout: '', stderr: '' }), { expected: () => [], ...options });

test('each kind of pool has its backend', () => {
  const backends = registry();
  expect(backends.of(pool('a', { backend: 'lvm', volumeGroup: 'vg0' }))).toBeInstanceOf(LvmLinearBackend);
  expect(backends.of(pool('b', { backend: 'lvm-thin', volumeGroup: 'vg0', thinPool: 'tp' }))).toBeInstanceOf(LvmThinBackend);
  expect(backends.of(pool('c', { backend: 'file', directory: '/x' }))).toBeInstanceOf(FileBackend);
});

test('a file pool whose disk hangs holds up no other one', async () => {
  const disk = new HungFileSystem();
  disk.hang('/hung');
  const backends = registry({ directories: new Directories({ fs: disk.fs, gates: new DirectoryGates({ lateMs: 20 }) }) });
  const [hung, other] = ['/hung/', '/proc/nope'].map((directory) => backends.of(pool(directory, { backend: 'file', directory })));
  expect(await hung?.measure(signal)).toMatchObject({ ready: false, message: expect.stringMatching(/^directory \/hung: reading/) });
  expect(await other?.measure(signal)).toMatchObject({ ready: false, message: expect.stringMatching(/^\/proc\/nope cannot be made/) });
  disk.release();
});

test('a pool keeps its backend, and what that knows, until its settings change', () => {
  const backends = registry();
  const first = backends.of(pool('a', { backend: 'lvm', volumeGroup: 'vg0', nodeSelector: { disk: 'ssd' } }));
  expect(backends.of(pool('a', { backend: 'lvm', volumeGroup: 'vg0' }))).toBe(first);
  expect(backends.of(pool('b', { backend: 'lvm', volumeGroup: 'vg0' }))).not.toBe(first);
  expect(backends.of(pool('a', { backend: 'lvm', volumeGroup: 'vg1' }))).not.toBe(first);
  const file = backends.of(pool('c', { backend: 'file', directory: '/x' }));
  expect(backends.of(pool('c', { backend: 'file', directory: '/x', reserve: '15%' }))).not.toBe(file);
});

test('a pool whose settings change still takes one snapshot at a time', () => {
  const specs = [
    [{ backend: 'lvm', volumeGroup: 'vg0' }, { wipe: 'Ends' }],
    [{ backend: 'lvm-thin', volumeGroup: 'vg0', thinPool: 'tp' }, { overprovision: 2 }],
    [{ backend: 'file', directory: '/x' }, { reserve: '15%' }],
  ] as const;
  for (const [spec, change] of specs) {
    const backends = registry();
    const first = backends.of(pool('a', spec));
    const second = backends.of(pool('a', { ...spec, ...change }));
    expect(second).not.toBe(first);
    expect(second.snapshots?.serial, spec.backend).toBe(first.snapshots?.serial);
  }
});
