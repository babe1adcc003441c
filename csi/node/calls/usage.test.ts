import { Code } from '../../../rpc/status.ts';
import { block, Mode, mountOf } from '../testing/calls.ts';
import { checkAccess, usageOf } from './usage.ts';

test('usageOf() reads a file system, its flags and its default', () => {
  expect(usageOf({ mount: { fsType: '', mountFlags: ['noatime'] }, accessMode: { mode: Mode.SINGLE_NODE_WRITER } })).toStrictEqual({
    kind: 'mount',
    type: 'ext4',
    flags: ['noatime'],
    readOnly: false,
    single: false,
  });
});

test('usageOf() takes the mount option ro for a read-only access mode', () => {
  const usage = usageOf({ mount: { fsType: 'xfs', mountFlags: ['ro'] }, accessMode: { mode: Mode.SINGLE_NODE_WRITER } });
  expect(usage).toMatchObject({ readOnly: true, flags: [] });
  expect(usageOf(mountOf('xfs', Mode.MULTI_NODE_READER_ONLY)).readOnly).toBe(true);
});

test('usageOf() reads a raw block device, and a single writer', () => {
  expect(usageOf(block)).toStrictEqual({ kind: 'block', readOnly: false, single: false });
  expect(usageOf({ ...block, accessMode: { mode: Mode.SINGLE_NODE_SINGLE_WRITER } }).single).toBe(true);
});

for (const [what, capability] of [
  ['no capability', undefined],
  ['an unknown access mode', { ...block, accessMode: { mode: 99 as number } }],
  ['no access mode', { block: {} }],
  ['neither block nor mount', { accessMode: { mode: Mode.SINGLE_NODE_WRITER } }],
  ['an unknown file system', mountOf('btrfs')],
] as const) {
  test(`usageOf() refuses ${what}`, () => {
    expect(() => usageOf(capability)).toThrow(expect.objectContaining({ code: Code.INVALID_ARGUMENT }));
  });
}

for (const [access, capability, isAllowed] of [
  ['Exclusive', mountOf(), true],
  ['Exclusive', mountOf('ext4', Mode.MULTI_NODE_READER_ONLY), false],
  ['ReadOnlyMany', mountOf('ext4', Mode.MULTI_NODE_READER_ONLY), true],
  ['ReadOnlyMany', mountOf(), false],
  ['Shared', { ...block, accessMode: { mode: Mode.MULTI_NODE_MULTI_WRITER } }, true],
  ['Shared', mountOf(), false],
] as const) {
  test(`checkAccess() ${isAllowed ? 'allows' : 'refuses'} ${JSON.stringify(capability)} of a volume with access ${access}`, () => {
    const check = (): void => checkAccess('v1', access, capability, usageOf(capability));
    if (isAllowed) expect(check).not.toThrow();
    else expect(check).toThrow(expect.objectContaining({ code: Code.FAILED_PRECONDITION }));
  });
}
