import {
  AtaCommand,
  AtaFlag,
  Command,
  emitAta,
  emitFrame,
  Flag,
  type FrameSocket,
  Initiator,
  padFrame,
  parseAta,
  parseFrame,
  type TargetAddress,
} from '../../../aoe/mod.ts';
import { ATA_FAILURE, SECTOR } from '../../../aoe/wire/ata.ts';
import type { NodeName } from '../model/plan.ts';
import type { Port } from './switch.ts';

/** Time to the first repetition of a frame, doubled for each next one. The kernel's driver adapts it to the network's speed. */
const FIRST_RETRY_MS = 12;
const LAST_RETRY_MS = 200;
/** The highest bit of a tag is for programs; the kernel's driver never sets it. */
const TAGS = 0x7fff_ffff;

/** The target has answered with ATA ERR. */
export class IoError extends Error {}
/** The host has forgotten the request: it crashed, or its disk was taken away. */
export class Forgotten extends Error {}

/** A request that waits for its answer, under the tag of its last repetition. */
interface Waiting {
  frame: (tag: number) => Uint8Array;
  timer: NodeJS.Timeout | undefined;
  retryMs: number;
  done: (data: Uint8Array) => void;
  failed: (error: Error) => void;
}

/**
 * Plays a node: the initiator of our node plugin, and block I/O as the kernel's driver does it. That is: an answered frame
 * is over, an ATA ERR is an I/O error, and what is not answered is sent again under a new tag, for ever; answers to earlier
 * tags are nobody's.
 */
export class FakeHost {
  readonly name: NodeName;
  readonly port: Port;
  readonly initiator: Initiator;
  /** Sectors in a frame, as the MTU of its interface allows. */
  readonly sectors: number;
  /** UID of its Node. */
  uid = '';
  readonly #socket: FrameSocket;
  readonly #waiting = new Map<number, Waiting>();
  #lastTag = 0;
  /** Frames that wait for the host to go on; undefined while it runs. */
  #queue: Uint8Array[] | undefined;

  constructor(name: NodeName, port: Port, sectors: number) {
    this.name = name;
    this.port = port;
    this.sectors = sectors;
    this.initiator = new Initiator([port.socket()]);
    this.#socket = port.socket();
    this.#socket.onFrame((bytes) => this.#receive(bytes));
  }

  /** Stops in the middle of everything. What was not answered is in the queue of its network card. */
  hang(): void {
    this.#queue = [...this.#waiting].map(([tag, { frame }]) => frame(tag));
  }

  /** Goes on where it stopped: first the queue goes out. */
  goOn(): void {
    const queue = this.#queue ?? [];
    this.#queue = undefined;
    for (const frame of queue) this.#socket.send(frame);
    for (const [tag, waiting] of [...this.#waiting]) this.#repeat(tag, waiting);
  }

  /** Where its node plugin sends heartbeats: there are none while it hangs. */
  heartbeats(): Pick<FrameSocket, 'mac' | 'send' | 'close'> {
    const send = (frame: Uint8Array): void => {
      if (!this.#queue) this.#socket.send(frame);
    };
    return { mac: this.port.mac, send, close: () => {} };
  }

  /** Forgets everything, as a crash does, and as the kernel does with the requests of a disk that is taken away. */
  forget(): void {
    this.#queue = undefined;
    for (const waiting of this.#waiting.values()) {
      clearTimeout(waiting.timer);
      waiting.failed(new Forgotten());
    }
    this.#waiting.clear();
  }

  /** @throws IoError, Forgotten */
  async read(disk: FakeDisk, sector: number, count: number): Promise<Buffer> {
    const parts = this.#split(count).map(({ at, sectors }) => {
      const argument = { feature: 0, sectors, lba: sector + at, reserved: 0 };
      return this.#request(disk, emitAta({ ...argument, flags: AtaFlag.Lba48, command: AtaCommand.ReadExt, data: new Uint8Array() }));
    });
    return Buffer.concat(await Promise.all(parts));
  }

  /** @throws IoError, Forgotten */
  async write(disk: FakeDisk, sector: number, data: Uint8Array): Promise<void> {
    await Promise.all(this.#writes(sector, data).map((argument) => this.#request(disk, argument)));
  }

  /** Puts a write on the target's cable, once and at once, and does not wait for the answer. */
  strike(disk: FakeDisk, sector: number, data: Uint8Array): void {
    for (const argument of this.#writes(sector, data)) this.port.deliver(this.#frame(disk, argument, this.#freshTag()));
  }

  #writes(sector: number, data: Uint8Array): Uint8Array[] {
    const argument = { flags: AtaFlag.Lba48 | AtaFlag.Write, feature: 0, command: AtaCommand.WriteExt, reserved: 0 };
    return this.#split(data.length / SECTOR).map(({ at, sectors }) =>
      emitAta({ ...argument, sectors, lba: sector + at, data: data.subarray(at * SECTOR, (at + sectors) * SECTOR) }),
    );
  }

  #split(count: number): { at: number; sectors: number }[] {
    const parts: { at: number; sectors: number }[] = [];
    for (let at = 0; at < count; at += this.sectors) parts.push({ at, sectors: Math.min(this.sectors, count - at) });
    return parts;
  }

  #request(disk: FakeDisk, argument: Uint8Array): Promise<Uint8Array> {
    return new Promise((done, failed) => {
      const frame = (tag: number): Uint8Array => this.#frame(disk, argument, tag);
      this.#transmit({ frame, timer: undefined, retryMs: FIRST_RETRY_MS, done, failed });
    });
  }

  #transmit(waiting: Waiting): void {
    const tag = this.#freshTag();
    this.#waiting.set(tag, waiting);
    const bytes = waiting.frame(tag);
    if (this.#queue) this.#queue.push(bytes);
    else this.#socket.send(bytes);
    const late = (): void => {
      if (!this.#queue) this.#repeat(tag, waiting);
    };
    waiting.timer = setTimeout(late, waiting.retryMs);
    waiting.retryMs = Math.min(waiting.retryMs * 2, LAST_RETRY_MS);
  }

  #repeat(tag: number, waiting: Waiting): void {
    clearTimeout(waiting.timer);
    this.#waiting.delete(tag);
    this.#transmit(waiting);
  }

  #frame({ address, mac }: FakeDisk, argument: Uint8Array, tag: number): Uint8Array {
    const header = { destination: mac, source: this.port.mac, version: 1, flags: 0, error: 0, command: Command.Ata, tag, ...address };
    return padFrame(emitFrame({ header, argument }));
  }

  #freshTag(): number {
    this.#lastTag = (this.#lastTag % TAGS) + 1;
    return this.#lastTag;
  }

  #receive(bytes: Uint8Array): void {
    if (this.#queue) return;
    const frame = parseFrame(bytes);
    if (frame?.header.command !== Command.Ata) return;
    const waiting = this.#waiting.get(frame.header.tag);
    // The kernel's driver drops answers with the error flag, and goes on asking.
    if (!waiting || (frame.header.flags & Flag.Error) !== 0) return;
    const argument = parseAta(frame.argument);
    if (!argument) return;
    this.#waiting.delete(frame.header.tag);
    clearTimeout(waiting.timer);
    if ((argument.command & ATA_FAILURE) !== 0) waiting.failed(new IoError(`status 0x${argument.command.toString(16)}`));
    else waiting.done(argument.data);
  }
}

/** Where a host reaches a volume. */
export interface FakeDisk {
  address: TargetAddress;
  /** The target's. */
  mac: string;
}
