import { ATA_FAILURE, type AtaArgument, parseAta } from '../../aoe/wire/ata.ts';
import { type ConfigArgument, parseConfig } from '../../aoe/wire/config.ts';
import { Flag, type Frame, type Header } from '../../aoe/wire/header.ts';
import { type MaskArgument, parseMask } from '../../aoe/wire/mask.ts';
import { parseReserve, type ReserveArgument } from '../../aoe/wire/reserve.ts';
import { Deviation, equal, must } from './check.ts';

/** A frame that a target sent. */
export class Answer {
  readonly bytes: Uint8Array;
  readonly header: Header;
  readonly argument: Uint8Array;

  constructor(bytes: Uint8Array, { header, argument }: Frame) {
    this.bytes = bytes;
    this.header = header;
    this.argument = argument;
  }

  get ata(): AtaArgument {
    return this.#parsed('ATA', parseAta);
  }
  get config(): ConfigArgument {
    return this.#parsed('config', parseConfig);
  }
  get mask(): MaskArgument {
    return this.#parsed('mask', parseMask);
  }
  get reserve(): ReserveArgument {
    return this.#parsed('reserve', parseReserve);
  }
  /** The config string as text. */
  get string(): string {
    return Buffer.from(this.config.string).toString('latin1');
  }
  /** The addresses of a mask list. */
  get masked(): string[] {
    return this.mask.directives.map(({ mac }) => mac);
  }

  #parsed<T>(kind: string, parse: (bytes: Uint8Array) => T | undefined): T {
    const value = parse(this.argument);
    if (!value) throw new Deviation(`the ${kind} argument of the answer is cut short: ${Buffer.from(this.argument).toString('hex')}`);
    return value;
  }

  /** An answer without AoE error. */
  fine(): this {
    must((this.header.flags & Flag.Error) === 0, `AoE error ${this.header.error}`);
    equal(this.header.flags & Flag.Response, Flag.Response, 'the response flag');
    equal(this.header.error, 0, 'the error field of an answer without error');
    return this;
  }

  /** An AoE error. */
  refused(error: number): this {
    must((this.header.flags & Flag.Error) !== 0, `no AoE error, but ${this.describe()}`);
    equal(this.header.error, error, 'the AoE error');
    return this;
  }

  /** An ATA command that succeeded. */
  good(): this {
    this.fine();
    must((this.ata.command & ATA_FAILURE) === 0, `ATA status 0x${this.ata.command.toString(16)}`);
    return this;
  }

  /** An ATA command that failed as a disk fails it: the Linux driver drops answers with AoE errors and waits on. */
  ataError({ bits, of = 'the command' }: { bits?: number; of?: string } = {}): this {
    this.fine();
    must((this.ata.command & 1) !== 0, `the ATA status of ${of} is 0x${this.ata.command.toString(16)}, without ERR`);
    if (bits !== undefined) equal(this.ata.feature & bits, bits, `the ATA error register of ${of}`);
    return this;
  }

  /** What a read brought: exactly as many sectors. */
  sectors(count: number): Uint8Array {
    this.good();
    equal(this.ata.data.length, count * 512, `the length of the data of ${count} sectors`);
    return this.ata.data;
  }

  /** Whether a command that must fail did, in whichever way. */
  get failed(): boolean {
    return (this.header.flags & Flag.Error) !== 0 || (this.header.command === 0 && (this.ata.command & ATA_FAILURE) !== 0);
  }

  describe(): string {
    const { flags, error, command } = this.header;
    const status = command === 0 && this.argument.length >= 12 ? ` status 0x${this.ata.command.toString(16)}` : '';
    return `an answer of ${this.bytes.length} bytes, flags 0x${flags.toString(16)} error ${error}${status}`;
  }
}
