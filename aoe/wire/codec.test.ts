import assert from 'node:assert/strict';
import fc from 'fast-check';
import { emitAta, identifyRequest, parseAta } from './ata.ts';
import { configRequest, emitConfig, parseConfig, replacementOf, testAndReplaceRequest } from './config.ts';
import { describeError, ErrorCode, emitFrame, padFrame, parseFrame, parseMac } from './header.ts';
import { emitIdentity, parseIdentity } from './identify.ts';
import { emitMask, parseMask } from './mask.ts';
import { emitReserve, parseReserve } from './reserve.ts';

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(/\s/g, ''), 'hex'));
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** Frames as seen on the wire: name, bytes, what must be found in them. */
const FRAMES: [name: string, bytes: string, found: object][] = [
  [
    'query of e7.3 by aoecfg',
    'ffffffffffff 020000000001 88a2 10 00 0007 03 01 80000001 0000 0000 00 10 0000',
    { version: 1, flags: 0, shelf: 7, slot: 3, command: 1, tag: 0x80000001 },
  ],
  [
    'error 4 of a target',
    '020000000001 020000000002 88a2 1c 04 0007 03 01 80000001 0010 4014 02 13 0003 616263',
    { flags: 0x0c, error: 4, source: '02:00:00:00:00:02' },
  ],
  [
    "vblade's announcement, version 0",
    'ffffffffffff 020000000002 88a2 08 00 0007 03 01 00000000 0010 4014 02 10 0000',
    { version: 0, flags: 8 },
  ],
  ['no argument at all', 'ffffffffffff 020000000002 88a2 10 00 ffff ff 00 ffffffff', { shelf: 0xffff, slot: 0xff, tag: 0xffffffff }],
];
for (const [name, bytes, found] of FRAMES) {
  test(`parseFrame() reads ${name}, emitFrame() gives the same bytes`, () => {
    const frame = parseFrame(hex(bytes));
    assert.ok(frame);
    expect({ ...frame.header, ...found }).toStrictEqual(frame.header);
    expect(text(emitFrame(frame))).toBe(text(hex(bytes)));
  });
}

/** Input that crashed or fooled a parser once, or would. */
const GARBAGE: [name: string, bytes: string][] = [
  ['nothing', ''],
  ['a frame cut in the tag', 'ffffffffffff 020000000001 88a2 10 00 0007 03 01 800000'],
  ['another EtherType', 'ffffffffffff 020000000001 0800 10 00 0007 03 01 80000001'],
];
for (const [name, bytes] of GARBAGE) test(`parseFrame() refuses ${name}`, () => expect(parseFrame(hex(bytes))).toBeUndefined());

test('parseConfig() refuses a length beyond the frame and beyond 1024', () => {
  expect(parseConfig(hex('0000 0000 00 10 0004 616263'))).toBeUndefined();
  expect(parseConfig(Buffer.concat([hex('0000 0000 00 10 0401'), Buffer.alloc(1025)]))).toBeUndefined();
  expect(() => emitConfig(configRequest(3, new Uint8Array(1025)))).toThrow(RangeError);
});

test('parseMask() and parseReserve() refuse a count beyond the frame', () => {
  expect(parseMask(hex('00 01 00 02 00 01 020000000001'))).toBeUndefined();
  expect(parseReserve(hex('01 02 020000000001'))).toBeUndefined();
});

test('parseMask() reads directives', () => {
  const mask = parseMask(hex('00 01 00 02 00 01 020000000001 00 02 020000000002'));
  expect(mask?.directives).toStrictEqual([
    { reserved: 0, command: 1, mac: '02:00:00:00:00:01' },
    { reserved: 0, command: 2, mac: '02:00:00:00:00:02' },
  ]);
});

test('a 48-bit LBA keeps its byte order', () => {
  const ata = parseAta(hex('41 00 01 34 010203040506 0000'));
  expect(ata?.lba).toBe(0x060504030201);
  expect(text(emitAta(identifyRequest()))).toBe('000001ec000000a000000000');
});

test('testAndReplaceRequest() carries both strings', () => {
  const request = testAndReplaceRequest(Buffer.from('old'), Buffer.from('newer'));
  const parsed = parseConfig(emitConfig(request));
  assert.ok(parsed);
  expect(Buffer.from(parsed.string).toString()).toBe('old');
  expect(Buffer.from(replacementOf(parsed) ?? []).toString()).toBe('newer');
  expect(replacementOf({ ...parsed, rest: hex('0005 6162') })).toBeUndefined();
});

test('IDENTIFY strings are byte-swapped on the wire and natural from the Linux driver', () => {
  const identity = { serial: '0123456789ABCDEF0123', firmware: '1.0', model: 'aoe-csi', sectors: 2 ** 33 };
  const wire = emitIdentity(identity);
  expect(Buffer.from(wire.subarray(20, 24)).toString()).toBe('1032');
  expect(parseIdentity(wire)).toStrictEqual(identity);
  const natural = wire.slice();
  for (let at = 20; at < 94; at += 2) natural.set([wire[at + 1] ?? 0, wire[at] ?? 0], at);
  expect(parseIdentity(natural, 'natural')?.serial).toBe(identity.serial);
  expect(parseIdentity(wire.subarray(0, 511))).toBeUndefined();
});

test('padFrame() pads to 60 bytes and no further', () => {
  expect(padFrame(new Uint8Array(24)).length).toBe(60);
  expect(padFrame(new Uint8Array(61)).length).toBe(61);
});

test('parseMac() refuses what is not a MAC address', () => {
  for (const bad of ['', '02:00:00:00:00', '02:00:00:00:00:0g', '020000000001']) expect(() => parseMac(bad)).toThrow(RangeError);
});

test('whatever parses emits to the same bytes, and garbage is refused without an exception', () => {
  const bytes = fc.uint8Array({ maxLength: 1600 });
  fc.assert(
    fc.property(bytes, fc.boolean(), (input, aoe) => {
      if (aoe && input.length > 13) input.set([0x88, 0xa2], 12);
      const same = (output: Uint8Array | undefined): void => {
        if (output) expect(text(output)).toBe(text(input));
      };
      const frame = parseFrame(input);
      same(frame && emitFrame(frame));
      const ata = parseAta(input);
      same(ata && emitAta(ata));
      const config = parseConfig(input);
      same(config && emitConfig(config));
      if (config) replacementOf(config);
      const mask = parseMask(input);
      same(mask && emitMask(mask));
      const reserve = parseReserve(input);
      same(reserve && emitReserve(reserve));
      parseIdentity(input);
      parseIdentity(input, 'natural');
    }),
    { numRuns: 2000 },
  );
});

test('an error code has its name where the specification gives one', () => {
  expect(describeError(ErrorCode.BadArgument)).toBe('AoE error 2 (BadArgument)');
  expect(describeError(99)).toBe('AoE error 99');
});
