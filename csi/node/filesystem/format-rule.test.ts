import { type DiskFacts, mountOrFormat } from './format-rule.ts';

const facts: DiskFacts = {
  name: 'volume v',
  content: { kind: 'nothing' },
  blank: true,
  recorded: undefined,
  restored: false,
  wanted: 'ext4',
  readOnly: false,
  locked: true,
};
const ext4 = { kind: 'found', type: 'ext4' } as const;
const formatting = { type: 'ext4', state: 'Formatting' } as const;
const formatted = { type: 'ext4', state: 'Formatted' } as const;

/** What is on the disk, and the expected decision, or the message of the refusal. */
const TABLE: [name: string, change: Partial<DiskFacts>, outcome: 'mount' | 'format' | RegExp][] = [
  ['an empty disk', {}, 'format'],
  ['the requested file system', { content: ext4, blank: false }, 'mount'],
  ['our own file system', { content: ext4, blank: false, recorded: formatted }, 'mount'],
  ['an interrupted format, nothing to see', { blank: false, recorded: formatting }, 'format'],
  ['a format that was finished, but not recorded', { content: ext4, recorded: formatting }, 'mount'],
  ['a format that was started, and something else since', { content: { kind: 'found', type: 'xfs' }, recorded: formatting }, /holds xfs/],
  ['an interrupted format, but not locked', { blank: false, recorded: formatting, locked: false }, /no known file system/],
  ['an interrupted format of another type', { blank: false, recorded: { type: 'xfs', state: 'Formatting' } }, /no known file system/],
  ['another file system', { content: { kind: 'found', type: 'xfs' } }, /holds xfs, but ext4/],
  ['a partition table', { content: { kind: 'found', type: 'a gpt partition table' } }, /gpt partition table/],
  ['LVM', { content: { kind: 'found', type: 'LVM2_member' } }, /LVM2_member/],
  ['contradicting signatures', { content: { kind: 'ambivalent', detail: 'x' } }, /contradicting/],
  ['data without a signature', { blank: false }, /no known file system/],
  ['an empty disk that was formatted before', { recorded: formatted }, /data was lost/],
  ['an empty disk that was made of a snapshot', { restored: true }, /began with the data of a snapshot/],
  ['a disk of a snapshot taken during a format', { restored: true, blank: false, recorded: formatting }, /began with the data of a snapshot/],
  ['the file system of a snapshot', { restored: true, content: ext4, blank: false }, 'mount'],
  ['an empty disk for reading only', { readOnly: true }, /read-only/],
  ['an empty disk without lock', { locked: false }, /without the lock/],
];
for (const [name, change, outcome] of TABLE) {
  test(`${name}: ${outcome}`, () => {
    if (outcome instanceof RegExp)
      expect(() => mountOrFormat({ ...facts, ...change })).toThrow(
        expect.objectContaining({ code: 9, message: expect.stringMatching(outcome) }),
      );
    else expect(mountOrFormat({ ...facts, ...change })).toBe(outcome);
  });
}
