import { type FrameSocket, RawSocket, USERLAND_TAG } from './net/socket.ts';
import { ATA_FAILURE, emitAta, identifyRequest, parseAta } from './wire/ata.ts';
import { type ConfigArgument, ConfigCommand, configRequest, emitConfig, parseConfig, testAndReplaceRequest } from './wire/config.ts';
import { BROADCAST_MAC, Command, emitFrame, Flag, type Header, padFrame, parseFrame } from './wire/header.ts';
import { type Identity, parseIdentity } from './wire/identify.ts';

/** Shelf and slot of a target. */
export interface TargetAddress {
  readonly shelf: number;
  readonly slot: number;
}

/** One way to a target: our interface and the MAC address that answered there. */
export interface Path {
  readonly interfaceName: string;
  readonly mac: string;
}

/** A target's answer to a config command. */
export interface ConfigReply extends Path {
  readonly shelf: number;
  readonly slot: number;
  /** 0, or the AoE error code: see ErrorCode. */
  readonly error: number;
  readonly string: Uint8Array;
  readonly bufferCount: number;
  readonly firmware: number;
  readonly sectors: number;
}

/** A target's answer to IDENTIFY: no identity when it refused. */
export interface IdentifyReply extends Path {
  readonly error: number;
  readonly identity: Identity | undefined;
}

export interface ExchangeOptions {
  /**
   * How long to repeat the request while nobody answers, in milliseconds. Default 2000. With `attempts` it is longer where this process got no
   * CPU time meanwhile: a request that was not sent proves nothing.
   */
  readonly timeoutMs?: number;
  /** How long to wait for further answers after the first one, in milliseconds. Default 30; a single path needs no wait. */
  readonly settleMs?: number;
  /** Milliseconds until the second request, doubled for each further one up to 800 ms. Default 50. */
  readonly retransmitMs?: number;
  /** How often the request is sent at most. Absent: as often as the time allows. */
  readonly attempts?: number;
  /** The only path to ask. Absent: every interface, by broadcast. */
  readonly to?: Path;
  readonly signal?: AbortSignal;
}

const MAX_RETRANSMIT_MS = 800;

/**
 * Sends requests to targets. A request is repeated, with a new tag each time, until a target answers or the time is over. An answer to
 * any of the repetitions counts. Of several answers from one MAC address, the first counts. An answer that has arrived in time counts,
 * however busy this process is.
 * @example
 * const replies = await withInitiator(['eth0'], (initiator) => initiator.query({ shelf: 7, slot: 3 }));
 */
export class Initiator {
  readonly #sockets: readonly FrameSocket[];
  readonly #waiting = new Map<number, (socket: FrameSocket, header: Header, argument: Uint8Array) => void>();

  constructor(sockets: readonly FrameSocket[]) {
    this.#sockets = sockets;
    for (const socket of sockets) socket.onFrame((bytes) => this.#receive(socket, bytes));
  }

  /** Reads the config string of every target at the address. An empty list when nobody answers in time. */
  query(address: TargetAddress, options: ExchangeOptions = {}): Promise<ConfigReply[]> {
    return this.#config(address, configRequest(ConfigCommand.Read), options);
  }

  /** Sets the config string where it is empty; elsewhere the answer has error 4 and the present string. */
  setIfEmpty(address: TargetAddress, bytes: Uint8Array, options: ExchangeOptions = {}): Promise<ConfigReply[]> {
    return this.#config(address, configRequest(ConfigCommand.SetIfEmpty, bytes), options);
  }

  /** Sets the config string, whatever it was. */
  force(address: TargetAddress, bytes: Uint8Array, options: ExchangeOptions = {}): Promise<ConfigReply[]> {
    return this.#config(address, configRequest(ConfigCommand.Force, bytes), options);
  }

  /** Sets the config string where it is exactly `old`; elsewhere error 4. Old targets do not know it: error 1 or 2. */
  testAndReplace(address: TargetAddress, old: Uint8Array, next: Uint8Array, options: ExchangeOptions = {}): Promise<ConfigReply[]> {
    return this.#config(address, testAndReplaceRequest(old, next), options);
  }

  /** IDENTIFY DEVICE of every target at the address. */
  identify(address: TargetAddress, options: ExchangeOptions = {}): Promise<IdentifyReply[]> {
    return this.#exchange(address, Command.Ata, emitAta(identifyRequest()), options, (path, header, bytes) => {
      const argument = parseAta(bytes);
      if (!argument) return undefined;
      const failed = (header.flags & Flag.Error) !== 0 || (argument.command & ATA_FAILURE) !== 0;
      return { ...path, error: header.error, identity: failed ? undefined : parseIdentity(argument.data) };
    });
  }

  #config(address: TargetAddress, request: ConfigArgument, options: ExchangeOptions): Promise<ConfigReply[]> {
    return this.#exchange(address, Command.Config, emitConfig(request), options, (path, header, bytes) => {
      const argument = parseConfig(bytes);
      const error = (header.flags & Flag.Error) !== 0 ? header.error || -1 : 0;
      if (!argument && error === 0) return undefined;
      return {
        ...path,
        shelf: header.shelf,
        slot: header.slot,
        error,
        string: argument?.string ?? new Uint8Array(),
        bufferCount: argument?.bufferCount ?? 0,
        firmware: argument?.firmware ?? 0,
        sectors: argument?.sectors ?? 0,
      };
    });
  }

  #receive(socket: FrameSocket, bytes: Uint8Array): void {
    const frame = parseFrame(bytes);
    if (frame && (frame.header.flags & Flag.Response) !== 0) this.#waiting.get(frame.header.tag)?.(socket, frame.header, frame.argument);
  }

  async #exchange<R extends Path>(
    address: TargetAddress,
    command: Command,
    argument: Uint8Array,
    { timeoutMs = 2000, settleMs = 30, retransmitMs = 50, attempts = Number.POSITIVE_INFINITY, to, signal }: ExchangeOptions,
    read: (path: Path, header: Header, argument: Uint8Array) => R | undefined,
  ): Promise<R[]> {
    signal?.throwIfAborted();
    const sockets = this.#sockets.filter((socket) => to === undefined || socket.interfaceName === to.interfaceName);
    const replies = new Map<string, R>();
    const tags: number[] = [];
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    let settling: NodeJS.Timeout | undefined;
    let repeating: NodeJS.Timeout | undefined;

    const take = (socket: FrameSocket, header: Header, bytes: Uint8Array): void => {
      if (header.command !== command || header.shelf !== address.shelf || header.slot !== address.slot) return;
      if (to !== undefined && (header.source !== to.mac || socket.interfaceName !== to.interfaceName)) return;
      const key = `${socket.interfaceName} ${header.source}`;
      if (replies.has(key)) return;
      const reply = read({ interfaceName: socket.interfaceName, mac: header.source }, header, bytes);
      if (!reply) return;
      replies.set(key, reply);
      if (to !== undefined) resolve();
      else settling ??= setTimeout(resolve, settleMs);
    };
    const drain = (): void => {
      for (const socket of sockets) socket.drain();
    };
    // With a number of attempts the limit counts time between sent requests only: a process without CPU time must not conclude that nobody
    // answers.
    let limit = setTimeout(resolve, timeoutMs);
    let leftMs = timeoutMs;
    const ask = (waitMs: number): void => {
      // A new tag each time, so that a capture of the wire shows to which repetition an answer belongs.
      const tag = this.#freshTag();
      tags.push(tag);
      this.#waiting.set(tag, take);
      for (const socket of sockets) {
        const header: Header = {
          destination: to?.mac ?? BROADCAST_MAC,
          source: socket.mac,
          version: 1,
          flags: 0,
          error: 0,
          shelf: address.shelf,
          slot: address.slot,
          command,
          tag,
        };
        socket.send(padFrame(emitFrame({ header, argument })));
      }
      if (Number.isFinite(attempts)) {
        clearTimeout(limit);
        limit = setTimeout(resolve, tags.length < attempts ? Math.max(leftMs, waitMs + 1) : leftMs);
        leftMs = Math.max(0, leftMs - waitMs);
      }
      if (tags.length < attempts) repeating = setTimeout(() => repeat(Math.min(waitMs * 2, MAX_RETRANSMIT_MS)), waitMs);
    };
    const repeat = (waitMs: number): void => {
      drain();
      // The one answer may have been there, unread.
      if (to === undefined || replies.size === 0) ask(waitMs);
    };
    const abort = (): void => reject(signal?.reason);
    signal?.addEventListener('abort', abort, { once: true });
    try {
      ask(retransmitMs);
      await promise;
      // Before silence, or a list of answers, counts.
      drain();
    } finally {
      clearTimeout(limit);
      clearTimeout(settling);
      clearTimeout(repeating);
      signal?.removeEventListener('abort', abort);
      for (const tag of tags) this.#waiting.delete(tag);
    }
    return [...replies.values()].sort((a, b) => (a.mac < b.mac ? -1 : a.mac > b.mac ? 1 : a.interfaceName < b.interfaceName ? -1 : 1));
  }

  #freshTag(): number {
    let tag: number;
    do tag = (Math.floor(Math.random() * 0x8000_0000) | USERLAND_TAG) >>> 0;
    while (this.#waiting.has(tag));
    return tag;
  }
}

/**
 * Opens a socket on each interface, runs `use`, and closes them again.
 * @throws SocketError when none of the interfaces could be opened. An interface that cannot be opened is skipped while others can
 */
export async function withInitiator<T>(interfaceNames: readonly string[], use: (initiator: Initiator) => Promise<T>): Promise<T> {
  const sockets: RawSocket[] = [];
  try {
    const failures: unknown[] = [];
    for (const name of interfaceNames) {
      try {
        sockets.push(RawSocket.open(name));
      } catch (error) {
        failures.push(error);
      }
    }
    if (sockets.length === 0) throw failures[0] ?? new Error('no interface is configured for AoE');
    return await use(new Initiator(sockets));
  } finally {
    for (const socket of sockets) socket.close();
  }
}
