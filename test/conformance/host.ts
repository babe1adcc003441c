import { AtaCommand, AtaFlag, emitAta } from '../../aoe/wire/ata.ts';
import { ConfigCommand, configRequest, emitConfig, testAndReplaceRequest } from '../../aoe/wire/config.ts';
import { Command, emitFrame, type Header, MIN_FRAME } from '../../aoe/wire/header.ts';
import { type Directive, emitMask, MaskCommand } from '../../aoe/wire/mask.ts';
import { emitReserve } from '../../aoe/wire/reserve.ts';
import type { Answer } from './answer.ts';
import { Deviation } from './check.ts';
import type { Session } from './session.ts';

/** What of a frame is other than usual. */
export interface Unusual extends Partial<Header> {
  /** Length to pad the frame to, with zeros. Default 60. */
  readonly pad?: number;
  /** How long to wait for the answer, in milliseconds. */
  readonly limitMs?: number;
}

export interface AtaRequest {
  readonly lba?: number;
  readonly count?: number;
  readonly data?: Uint8Array;
  readonly flags?: number;
  readonly feature?: number;
  readonly reserved?: number;
}

const EXTENDED: readonly number[] = [AtaCommand.ReadExt, AtaCommand.WriteExt, AtaCommand.FlushCacheExt];
const WRITES: readonly number[] = [AtaCommand.Write, AtaCommand.WriteExt];
const utf8 = (text: string | Uint8Array): Uint8Array => (typeof text === 'string' ? Buffer.from(text) : text);

/** A host with an address of its own on the target's cable. */
export class Host {
  readonly mac: string;
  readonly #session: Session;

  constructor(session: Session, mac: string) {
    this.#session = session;
    this.mac = mac;
  }

  /** Sends a request to the target and gives its tag. */
  send(command: number, argument: Uint8Array, { pad = MIN_FRAME, ...unusual }: Omit<Unusual, 'limitMs'> = {}): number {
    const { mac: destination, address } = this.#session;
    const tag = this.#session.freshTag();
    const header: Header = { destination, source: this.mac, version: 1, flags: 0, error: 0, ...address, command, tag, ...unusual };
    const bytes = emitFrame({ header, argument });
    const padded = new Uint8Array(Math.max(bytes.length, pad));
    padded.set(bytes);
    this.#session.transmit(padded);
    return header.tag;
  }

  /** Sends a request and waits for the answer. @throws Deviation when none comes */
  ask(command: number, argument: Uint8Array, { limitMs, ...unusual }: Unusual = {}): Promise<Answer> {
    return this.answer(this.send(command, argument, unusual), limitMs);
  }

  /** The answer to a request that was sent. @throws Deviation when none comes */
  answer(tag: number, limitMs?: number): Promise<Answer> {
    return this.#session.wait((each) => each.header.tag === tag && each.header.destination === this.mac, limitMs);
  }

  /** Sends a request that must stay unanswered. */
  async silence(command: number, argument: Uint8Array, unusual: Unusual = {}): Promise<void> {
    await this.unanswered(this.send(command, argument, unusual));
  }

  /** @throws Deviation when there is, or soon will be, an answer to the request */
  async unanswered(...tags: number[]): Promise<void> {
    await this.#session.settle();
    const heard = this.#session.heard.find(({ header }) => tags.includes(header.tag) && header.destination === this.mac);
    if (heard) throw new Deviation(`${heard.describe()} to what must stay unanswered`);
  }

  config(command: number, string: string | Uint8Array = '', unusual: Unusual = {}): Promise<Answer> {
    return this.ask(Command.Config, emitConfig(configRequest(command, utf8(string))), unusual);
  }

  replace(old: string, next: string): Promise<Answer> {
    return this.ask(Command.Config, emitConfig(testAndReplaceRequest(utf8(old), utf8(next))));
  }

  query(unusual: Unusual = {}): Promise<Answer> {
    return this.config(ConfigCommand.Read, '', unusual);
  }

  /** Bytes of an ATA argument. LBA48 and write flags follow from the command. */
  registers(command: number, { lba = 0, count = 0, data = new Uint8Array(), flags, feature = 0, reserved = 0 }: AtaRequest): Uint8Array {
    const usual = (EXTENDED.includes(command) ? AtaFlag.Lba48 : 0) | (WRITES.includes(command) ? AtaFlag.Write : 0);
    return emitAta({ flags: flags ?? usual, feature, sectors: count, command, lba, reserved, data });
  }

  ata(command: number, request: AtaRequest = {}, unusual: Unusual = {}): Promise<Answer> {
    return this.ask(Command.Ata, this.registers(command, request), unusual);
  }

  identify(unusual: Unusual = {}): Promise<Answer> {
    return this.ata(AtaCommand.Identify, { count: 1, lba: 0xa0 * 2 ** 24 }, unusual);
  }

  read(lba: number, count = 1, unusual: Unusual = {}): Promise<Answer> {
    return this.ata(AtaCommand.ReadExt, { lba, count }, unusual);
  }

  /** Writes; what was there is put back at the end. */
  async write(lba: number, data: Uint8Array, request: AtaRequest = {}, command: number = AtaCommand.WriteExt): Promise<Answer> {
    const count = data.length / 512;
    await this.#session.keep(lba, count);
    return this.ata(command, { lba, count, data, ...request });
  }

  mask(directives: readonly [command: number, mac: string][], request: { command?: number } = {}): Promise<Answer> {
    const entries: Directive[] = directives.map(([command, mac]) => ({ reserved: 0, command, mac }));
    const command = request.command ?? MaskCommand.Edit;
    return this.ask(Command.Mask, emitMask({ reserved: 0, command, error: 0, directives: entries, rest: new Uint8Array() }));
  }

  reserve(command: number, macs: readonly string[] = []): Promise<Answer> {
    return this.ask(Command.Reserve, emitReserve({ command, macs, rest: new Uint8Array() }));
  }
}
