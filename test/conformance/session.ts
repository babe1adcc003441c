import { Initiator, RawSocket, type TargetAddress } from '../../aoe/mod.ts';
import { AtaCommand } from '../../aoe/wire/ata.ts';
import { ConfigCommand } from '../../aoe/wire/config.ts';
import { parseFrame } from '../../aoe/wire/header.ts';
import { type Identity, parseIdentity } from '../../aoe/wire/identify.ts';
import { DirectiveCommand, MaskCommand } from '../../aoe/wire/mask.ts';
import { ReserveCommand } from '../../aoe/wire/reserve.ts';
import { Answer } from './answer.ts';
import { Deviation } from './check.ts';
import { Host } from './host.ts';

/** Longest wait for an answer when nothing else is said, in milliseconds. */
const ANSWER_MS = 1500;
/** How long a wrong answer may come after a right one that was asked for later. */
const GRACE_MS = 25;
const ANY_SHELF = 0xffff;
const ANY_SLOT = 0xff;

export interface SessionOptions {
  readonly interfaceName: string;
  readonly mtu: number;
  readonly address: TargetAddress;
  /** Longest wait for an answer, in milliseconds. */
  readonly answerMs?: number;
  /** Ends the target and starts it again; without it the announcement is not tried, and a target that fell silent stays so. */
  readonly restart?: () => Promise<void>;
}

/** A target at one end of a cable, hosts A, B and C at the other. */
export class Session {
  readonly address: TargetAddress;
  readonly mtu: number;
  readonly a: Host;
  readonly b: Host;
  readonly c: Host;
  /** All that the target sent since the check began. */
  readonly heard: Answer[] = [];
  readonly restart: (() => Promise<void>) | undefined;
  /** The target's MAC address, and what it says of itself. */
  mac = '';
  bufferCount = 0;
  /** Sectors that a frame may carry, for the target and for the cable. */
  perFrame = 1;
  identity: Identity = { serial: '', firmware: '', model: '', sectors: 0 };
  /** The frame sent last, for the report. */
  sent: Uint8Array = new Uint8Array();
  readonly #answerMs: number;
  readonly #socket: RawSocket;
  readonly #waiting = new Set<(answer: Answer) => void>();
  readonly #kept = new Map<number, Uint8Array>();
  #tag = 0;

  private constructor(socket: RawSocket, { address, mtu, answerMs = ANSWER_MS, restart }: SessionOptions) {
    this.#answerMs = answerMs;
    this.#socket = socket;
    this.address = address;
    this.mtu = mtu;
    this.restart = restart;
    this.a = new Host(this, socket.mac);
    this.b = new Host(this, '02:00:5e:00:53:0b');
    this.c = new Host(this, '02:00:5e:00:53:0c');
  }

  /** Finds the target. @throws Error when it does not answer within `limitMs` */
  static async open(options: SessionOptions, limitMs = 10_000): Promise<Session> {
    const session = new Session(RawSocket.open(options.interfaceName, { everything: true }), options);
    try {
      await session.meet(limitMs);
      return session;
    } catch (error) {
      session.close();
      throw error;
    }
  }

  /** Learns the target's MAC address, size and limits. */
  async meet(limitMs: number): Promise<void> {
    const { shelf, slot } = this.address;
    const replies = await new Initiator([this.#socket]).query(this.address, { timeoutMs: limitMs });
    this.#socket.onFrame((bytes) => this.#receive(bytes));
    const [reply] = replies;
    if (!reply) throw new Error(`no target answers as ${shelf}.${slot} on ${this.#socket.interfaceName}`);
    if (replies.length > 1)
      throw new Error(`${replies.length} targets answer as ${shelf}.${slot}: ${replies.map(({ mac }) => mac).join(', ')}`);
    this.mac = reply.mac;
    this.bufferCount = reply.bufferCount;
    this.perFrame = Math.max(1, Math.min(reply.sectors, Math.floor((this.mtu - 36) / 512)));
    const identity = parseIdentity((await this.a.identify({ limitMs })).ata.data);
    if (!identity) throw new Error(`${shelf}.${slot} does not answer IDENTIFY`);
    this.identity = identity;
  }

  /** Tags have bit 31 set, so that a Linux driver on this host leaves them alone. */
  freshTag(): number {
    this.#tag = (this.#tag + 1) % 0x7fff_0000;
    return this.#tag + 0x8000_0000;
  }

  transmit(bytes: Uint8Array): void {
    this.sent = bytes;
    this.#socket.send(bytes);
  }

  #receive(bytes: Uint8Array): void {
    const frame = parseFrame(bytes);
    if (!frame || (this.mac !== '' && frame.header.source !== this.mac)) return;
    // Another volume of the same target, which answers to all shelves and slots, too.
    const { shelf, slot } = frame.header;
    const own = shelf === this.address.shelf && slot === this.address.slot;
    if (!own && shelf !== ANY_SHELF && slot !== ANY_SLOT) return;
    const answer = new Answer(bytes, frame);
    this.heard.push(answer);
    for (const take of this.#waiting) take(answer);
  }

  /** The first frame that fits, of those heard in this check or still to come. @throws Deviation when none comes */
  wait(fits: (answer: Answer) => boolean, limitMs = this.#answerMs): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const end = (): void => {
        clearTimeout(limit);
        this.#waiting.delete(take);
      };
      const take = (answer: Answer): void => {
        if (!fits(answer)) return;
        end();
        resolve(answer);
      };
      const limit = setTimeout(() => {
        this.#socket.drain();
        end();
        reject(new Deviation(`no answer within ${limitMs} ms`));
      }, limitMs);
      this.#waiting.add(take);
      const known = this.heard.find(fits);
      if (known) take(known);
    });
  }

  /** Waits until the target has done what it was told before: it answers another question, and then a moment. */
  async settle(): Promise<void> {
    const sent = this.sent;
    // After a flood the question itself may be lost: it is asked again.
    let answered = false;
    for (let time = 0; time < 3 && !answered; time++) {
      answered = await this.a.query({ limitMs: 5000 }).then(
        () => true,
        () => false,
      );
    }
    if (!answered) throw new Deviation('it answers nobody any more');
    await new Promise((resolve) => setTimeout(resolve, GRACE_MS));
    this.#socket.drain();
    this.sent = sent;
  }

  /** Remembers what is in sectors that are about to be written. */
  async keep(lba: number, count: number): Promise<void> {
    for (let sector = lba; sector < Math.min(lba + count, this.identity.sectors); sector++) {
      if (this.#kept.has(sector)) continue;
      this.#kept.set(sector, (await this.a.read(sector)).sectors(1));
    }
  }

  /** Puts back what checks wrote over. */
  async putBack(): Promise<void> {
    for (const [lba, data] of this.#kept) (await this.a.ata(AtaCommand.WriteExt, { lba, count: 1, data })).good();
    this.#kept.clear();
  }

  /** Empties lists and string, so that a check finds the target as the one before did. @throws Deviation when it is mute */
  async reset(): Promise<void> {
    const masked = await this.a.mask([], { command: MaskCommand.Read });
    const listed = masked.failed ? [] : masked.masked;
    // The sender goes last: whoever is not on a list that is not empty is not heard.
    const order = [...listed.filter((mac) => mac !== this.a.mac), ...listed.filter((mac) => mac === this.a.mac)];
    if (listed.length > 0) await this.a.mask(order.map((mac) => [DirectiveCommand.Delete, mac]));
    await this.a.reserve(ReserveCommand.Force);
    await this.a.config(ConfigCommand.Force);
    this.heard.length = 0;
  }

  close(): void {
    this.#socket.close();
  }
}
