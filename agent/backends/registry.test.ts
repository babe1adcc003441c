import type { AoEPool } from '../../api/pool.ts';
import { FileBackend } from './file/backend.ts';
import { LvmLinearBackend } from './lvm/linear.ts';
import { LvmThinBackend } from './lvm/thin.ts';
import { BackendRegistry } from './registry.ts';

const pool = (name: string, spec: object): AoEPool => ({ metadata: { name }, spec }) as never;
const registry = () => BackendRegistry.ofNode(async () => ({ stdout: '', stderr: '' }), { expected: () => [] });

test('each kind of pool has its backend', () => {
  const backends = registry();
  expect(backends.of(pool('a', { backend: 'lvm', volumeGroup: 'vg0' }))).toBeInstanceOf(LvmLinearBackend);
  expect(backends.of(pool('b', { backend: 'lvm-thin', volumeGroup: 'vg0', thinPool: 'tp' }))).toBeInstanceOf(LvmThinBackend);
  expect(backends.of(pool('c', { backend: 'file', directory: '/x' }))).toBeInstanceOf(FileBackend);
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
