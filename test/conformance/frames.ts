import fc from 'fast-check';
import { emitAta } from '../../aoe/wire/ata.ts';
import { emitConfig } from '../../aoe/wire/config.ts';
import { emitFrame, formatMac } from '../../aoe/wire/header.ts';
import { emitMask } from '../../aoe/wire/mask.ts';
import { emitReserve } from '../../aoe/wire/reserve.ts';

const byte = fc.nat(0xff);
const half = fc.nat(0xffff);
const bytes = (maxLength: number) => fc.uint8Array({ maxLength });
const mac = fc.uint8Array({ minLength: 6, maxLength: 6 }).map(formatMac);
const rest = bytes(40);

/** Arguments that are well formed, each with the command that it belongs to. */
const wellFormed = fc.oneof(
  fc
    .record({
      flags: byte,
      feature: byte,
      sectors: byte,
      command: byte,
      lba: fc.integer({ min: 0, max: 2 ** 48 - 1 }),
      reserved: half,
      data: bytes(600),
    })
    .map((ata) => ({ command: 0, argument: emitAta(ata) })),
  fc
    .record({
      bufferCount: half,
      firmware: half,
      sectors: byte,
      version: fc.nat(15),
      command: fc.nat(15),
      string: bytes(1024),
      rest: fc.oneof(
        rest,
        fc.tuple(half, rest).map(([length, string]) => Uint8Array.of(length >> 8, length & 0xff, ...string)),
      ),
    })
    .map((config) => ({ command: 1, argument: emitConfig(config) })),
  fc
    .record({
      reserved: byte,
      command: byte,
      error: byte,
      directives: fc.array(fc.record({ reserved: byte, command: byte, mac }), { maxLength: 20 }),
      rest,
    })
    .map((mask) => ({ command: 2, argument: emitMask(mask) })),
  fc
    .record({ command: byte, macs: fc.array(mac, { maxLength: 20 }), rest })
    .map((reserve) => ({ command: 3, argument: emitReserve(reserve) })),
);

const anything = fc.record({ command: fc.oneof(fc.nat(4), byte), argument: bytes(1100) });

/** A byte of a frame that becomes another. */
const flip = fc.record({ at: fc.nat(60), to: byte });

/** Frames off a hostile wire: well formed and not, cut, and with bytes changed, counts and lengths among them. */
export const hostileFrame: fc.Arbitrary<Uint8Array> = fc
  .record({
    header: fc.record({
      destination: mac,
      source: mac,
      version: fc.nat(15),
      flags: fc.nat(15),
      error: byte,
      shelf: half,
      slot: byte,
      tag: fc.nat(0xffff_ffff),
    }),
    body: fc.oneof({ weight: 3, arbitrary: wellFormed }, anything),
    flips: fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, fc.array(flip, { maxLength: 4 })),
    length: fc.oneof({ weight: 3, arbitrary: fc.constant(Number.POSITIVE_INFINITY) }, fc.nat(80)),
  })
  .map(({ header, body, flips, length }) => {
    const frame = emitFrame({ header: { ...header, command: body.command }, argument: body.argument });
    for (const { at, to } of flips) if (at < frame.length) frame[at] = to;
    return frame.subarray(0, Math.min(frame.length, length));
  });
