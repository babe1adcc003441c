import fc from 'fast-check';
import type { Range } from '../../blocks.ts';
import { type Document, MappingsReader } from './mappings.ts';

const BLOCK = 64 << 10;

/** What thin_dump 0.9.0 wrote with --dev-id 1. */
const DUMP = `<superblock uuid="" time="2" transaction="3" flags="0" version="2" data_block_size="128" nr_data_blocks="1000">
  <device dev_id="1" mapped_blocks="7" transaction="0" creation_time="0" snap_time="1">
    <range_mapping origin_begin="0" data_begin="0" length="4" time="0"/>
    <single_mapping origin_block="4" data_block="10" time="0"/>
    <single_mapping origin_block="6" data_block="10" time="0"/>
    <single_mapping origin_block="9" data_block="11" time="0"/>
  </device>
</superblock>
`;
/** What thin_delta 0.9.0 wrote. */
const DELTA = `<superblock uuid="" time="2" transaction="3" data_block_size="128" nr_data_blocks="1000">
  <diff left="1" right="2">
    <same begin="0" length="2"/>
    <different begin="2" length="1"/>
    <left_only begin="3" length="1"/>
    <same begin="6" length="1"/>
    <left_only begin="9" length="1"/>
    <right_only begin="20" length="2"/>
  </diff>
</superblock>
`;

function read(text: string, document: Document, parts: readonly number[] = []): Range[] {
  const reader = new MappingsReader(document);
  const cuts = [0, ...parts.map((each) => each % text.length).toSorted((a, b) => a - b), text.length];
  const found = cuts.slice(1).flatMap((end, each) => reader.add(text.slice(cuts[each], end)));
  return [...found, ...reader.end()];
}

const inBlocks = (ranges: readonly Range[]) => ranges.map(({ offset, bytes }) => [offset / BLOCK, bytes / BLOCK]);

describe('the output of thin-provisioning-tools', () => {
  it('gives the ranges that are mapped, joined, however it is cut into parts', () => {
    fc.assert(
      fc.property(fc.array(fc.nat()), (parts) => {
        expect(inBlocks(read(DUMP, { device: 1 }, parts))).toStrictEqual([
          [0, 5],
          [6, 1],
          [9, 1],
        ]);
        expect(inBlocks(read(DELTA, 'delta', parts))).toStrictEqual([
          [2, 2],
          [9, 1],
          [20, 2],
        ]);
      }),
    );
  });

  it('is refused when it is cut off anywhere before the end of what was asked for', () => {
    for (const [text, document, end] of [
      [DUMP, { device: 1 }, '</device>'],
      [DELTA, 'delta', '</diff>'],
    ] as const) {
      for (let length = 0; length < text.indexOf(end) + end.length; length++) {
        expect(() => read(text.slice(0, length), document)).toThrow(SyntaxError);
      }
    }
  });

  it.each([
    ['lacks the device', DUMP.replace(/<device.*device>/s, ''), /lacks what was asked for/],
    ['has another device', DUMP.replace('dev_id="1"', 'dev_id="2"'), /was not expected/],
    ['has fewer mappings than the device counts', DUMP.replace('length="4"', 'length="3"'), /7 blocks should be mapped, and 6/],
    [
      'refers to mappings that are elsewhere',
      DUMP.replace('<single_mapping origin_block="4" data_block="10" time="0"/>', '<ref name="5"/>'),
      /ref name/,
    ],
    ['has a number that is none', DUMP.replace('length="4"', 'length="x"'), /no number length/],
    ['goes back', DUMP.replace('origin_block="6"', 'origin_block="2"'), /cannot follow/],
    ['is of thin_delta', DELTA, /was not expected/],
  ])('is refused when it %s', (_what, text, message) => {
    expect(() => read(text, { device: 1 })).toThrow(message);
  });
});
