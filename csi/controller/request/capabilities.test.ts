import { csi } from '../../../rpc/mod.ts';
import { accessFor, checkCapabilities, mismatch, unsupported } from './capabilities.ts';

const { Mode } = csi.v1.VolumeCapability.AccessMode;
const block = (mode: number) => ({ block: {}, accessMode: { mode } });
const mount = (mode: number, fsType = '') => ({ mount: { fsType }, accessMode: { mode } });
const SINGLE = [Mode.SINGLE_NODE_WRITER, Mode.SINGLE_NODE_READER_ONLY, Mode.SINGLE_NODE_SINGLE_WRITER, Mode.SINGLE_NODE_MULTI_WRITER];

describe('capabilities of a volume', () => {
  it('are an Exclusive volume for one node, with ext4, xfs or none', () => {
    for (const mode of SINGLE) {
      for (const capability of [block(mode), mount(mode), mount(mode, 'ext4'), mount(mode, 'xfs')]) {
        expect(unsupported(capability)).toBeUndefined();
        expect(accessFor(checkCapabilities([capability]))).toBe('Exclusive');
        expect(mismatch('Exclusive', capability)).toBeUndefined();
      }
    }
  });

  it('are a Shared volume for block devices on many nodes, also when one node is requested as well', () => {
    expect(accessFor([block(Mode.MULTI_NODE_MULTI_WRITER)])).toBe('Shared');
    expect(accessFor([block(Mode.SINGLE_NODE_WRITER), block(Mode.MULTI_NODE_MULTI_WRITER)])).toBe('Shared');
  });

  const refused: [string, csi.v1.IVolumeCapability[], RegExp][] = [
    ['none', [], /missing/],
    ['neither block nor mount', [{ accessMode: { mode: Mode.SINGLE_NODE_WRITER } }], /block or mount/],
    ['no access mode', [{ block: {} }], /not supported/],
    ['one writer among many nodes', [block(Mode.MULTI_NODE_SINGLE_WRITER)], /MULTI_NODE_SINGLE_WRITER is not supported/],
    ['an access mode of the future', [block(99)], /99 is not supported/],
    ['a filesystem on many nodes', [mount(Mode.MULTI_NODE_MULTI_WRITER)], /ReadWriteMany/],
    ['a filesystem that is not supported', [mount(Mode.SINGLE_NODE_WRITER, 'ntfs')], /ntfs is not supported: use ext4 or xfs/],
    ['a second one that is wrong', [block(Mode.SINGLE_NODE_WRITER), mount(Mode.SINGLE_NODE_WRITER, 'ntfs')], /ntfs/],
    ['a volume that nobody can fill', [block(Mode.MULTI_NODE_READER_ONLY)], /would stay empty/],
    ['a filesystem, and a block device for many', [mount(Mode.SINGLE_NODE_WRITER), block(Mode.MULTI_NODE_MULTI_WRITER)], /contradict/],
    [
      'a writer and many readers',
      [mount(Mode.SINGLE_NODE_WRITER), mount(Mode.MULTI_NODE_READER_ONLY)],
      /contradict one another: an Exclusive volume/,
    ],
  ];
  for (const [what, capabilities, message] of refused) {
    it(`are refused: ${what}`, () => {
      expect(() => accessFor(checkCapabilities(capabilities))).toThrow(
        expect.objectContaining({ code: 3, message: expect.stringMatching(message) }),
      );
    });
  }

  it('fit an existing volume, or not', () => {
    expect(mismatch('Exclusive', block(Mode.MULTI_NODE_MULTI_WRITER)) ?? '').toMatch(/written by many nodes/);
    expect(mismatch('Exclusive', mount(Mode.MULTI_NODE_READER_ONLY)) ?? '').toMatch(/on many nodes/);
    expect(mismatch('ReadOnlyMany', mount(Mode.MULTI_NODE_READER_ONLY))).toBeUndefined();
    expect(mismatch('ReadOnlyMany', mount(Mode.SINGLE_NODE_WRITER)) ?? '').toMatch(/nobody can write/);
    expect(mismatch('Shared', block(Mode.SINGLE_NODE_WRITER))).toBeUndefined();
    expect(mismatch('Shared', mount(Mode.SINGLE_NODE_WRITER)) ?? '').toMatch(/block device/);
  });
});
