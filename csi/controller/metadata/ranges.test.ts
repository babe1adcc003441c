import fc from 'fast-check';
import { csi, fromInt64 } from '../../../rpc/mod.ts';
import { messages, type Range, type View } from './ranges.ts';

async function all(ranges: readonly (readonly Range[])[], view: Partial<View> = {}) {
  const found: { type: number; capacity: number; blocks: number[][] }[] = [];
  for await (const message of messages(ranges, { hidden: 0, bytes: 100, from: 0, maxResults: 0, ...view })) {
    const blocks = message.blockMetadata.map(({ byteOffset, sizeBytes }) => [fromInt64(byteOffset), fromInt64(sizeBytes)]);
    found.push({ type: message.blockMetadataType, capacity: fromInt64(message.volumeCapacityBytes), blocks });
  }
  return found;
}

describe('the messages of the SnapshotMetadata service', () => {
  it('name the size, also where there are no blocks', async () => {
    expect(await all([])).toStrictEqual([{ type: csi.v1.BlockMetadataType.VARIABLE_LENGTH, capacity: 100, blocks: [] }]);
  });

  it('name what the user of the disk sees of the ranges, from an offset to the end, so many in a message at most', async () => {
    const disk = fc.array(fc.tuple(fc.nat({ max: 9 }), fc.integer({ min: 1, max: 9 })), { maxLength: 20 });
    const view = fc.record({ hidden: fc.nat({ max: 20 }), from: fc.nat({ max: 100 }), maxResults: fc.nat({ max: 4 }) });
    await fc.assert(
      fc.asyncProperty(disk, view, async (gaps, { hidden, from, maxResults }) => {
        let end = 0;
        const ranges = gaps.map(([gap, bytes]): Range => {
          const offset = end + gap;
          end = offset + bytes;
          return { offset, bytes };
        });
        const found = await all([ranges.slice(0, 3), ranges.slice(3)], { hidden, from, maxResults });
        const bytes = found.flatMap(({ blocks }) =>
          blocks.flatMap(([at = 0, length = 0]) => Array.from({ length }, (_, each) => at + each)),
        );
        const visible = ranges
          .flatMap((range) => Array.from({ length: range.bytes }, (_, each) => range.offset + each - hidden))
          .filter((at) => at >= from && at < 100);
        expect(bytes).toStrictEqual(visible);
        expect(found.every(({ blocks }) => maxResults === 0 || blocks.length <= maxResults)).toBe(true);
        expect(found.flatMap(({ blocks }) => blocks).every(([, length = 0]) => length > 0)).toBe(true);
      }),
    );
  });
});
