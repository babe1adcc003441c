import { emitAta, parseAta } from '../../aoe/wire/ata.ts';
import { emitConfig, parseConfig, replacementOf } from '../../aoe/wire/config.ts';
import { Command, emitFrame, type Frame, parseFrame } from '../../aoe/wire/header.ts';
import { emitMask, parseMask } from '../../aoe/wire/mask.ts';
import { emitReserve, parseReserve } from '../../aoe/wire/reserve.ts';

/**
 * What a frame means, as plain JSON with bytes in hex: the Rust codec gives the same (target/tests/codec/decode.rs).
 * Null: no AoE frame.
 */
export type Decoded = {
  readonly header: Frame['header'];
  /** Of the command's kind; null when it is cut short, or for commands without one. */
  readonly argument: Record<string, unknown> | null;
  /** The frame put together again, without what follows the argument. */
  readonly emitted: string;
} | null;

const NOTHING = new Uint8Array();
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** Decodes a frame, and encodes it again. */
export function decode(bytes: Uint8Array): Decoded {
  const frame = parseFrame(bytes);
  if (!frame) return null;
  const { header } = frame;
  const { argument, emitted } = decodeArgument(header.command, frame.argument) ?? { argument: null, emitted: NOTHING };
  return { header, argument, emitted: hex(emitFrame({ header, argument: emitted })) };
}

function decodeArgument(command: number, bytes: Uint8Array): { argument: Record<string, unknown>; emitted: Uint8Array } | undefined {
  switch (command) {
    case Command.Ata: {
      const ata = parseAta(bytes);
      if (!ata) return undefined;
      const { flags, feature, sectors: count, lba, reserved, data } = ata;
      return { argument: { flags, feature, count, command: ata.command, lba, reserved, data: hex(data) }, emitted: emitAta(ata) };
    }
    case Command.Config: {
      const config = parseConfig(bytes);
      if (!config) return undefined;
      const { bufferCount: buffers, firmware, sectors, version } = config;
      const replacement = replacementOf(config);
      const strings = { string: hex(config.string), replacement: replacement ? hex(replacement) : null };
      const argument = { buffers, firmware, sectors, version, command: config.command, ...strings };
      return { argument, emitted: emitConfig({ ...config, rest: NOTHING }) };
    }
    case Command.Mask: {
      const mask = parseMask(bytes);
      if (!mask) return undefined;
      const { rest: _, ...argument } = mask;
      return { argument, emitted: emitMask({ ...mask, rest: NOTHING }) };
    }
    case Command.Reserve: {
      const reserve = parseReserve(bytes);
      if (!reserve) return undefined;
      return { argument: { command: reserve.command, macs: reserve.macs }, emitted: emitReserve({ ...reserve, rest: NOTHING }) };
    }
    default:
      return undefined;
  }
}
