import { type FrameSocket, Initiator, type TargetAddress } from '../../aoe/mod.ts';
import type { Logger } from '../../run/log.ts';

/** Four questions within this time: a target answers in well under a millisecond, unless its host is busy, and a lost frame is no answer. */
const PROBE = { timeoutMs: 300, retransmitMs: 75, settleMs: 20, attempts: 4 } as const;

/** Somebody else who serves an address. */
export interface Stranger {
  mac: string;
  /** Our interface that heard it. */
  interface: string;
}

/** Asks the segment whether somebody serves an address. */
export type AskSegment = (address: TargetAddress, signal: AbortSignal) => Promise<Stranger | undefined>;

export interface SegmentOptions {
  /** Interfaces to ask on: those that volumes are served on and that are up. */
  interfaces: () => readonly string[];
  /** Our own target's addresses: its answers on another interface of the same segment are not somebody else's. */
  ownMacs: () => ReadonlySet<string>;
  open: (interfaceName: string) => FrameSocket;
  log: Logger;
}

/** Questions asked at the same time share their sockets; the last one closes them. */
export class Segment {
  readonly #options: SegmentOptions;
  #shared: { initiator: Initiator; sockets: FrameSocket[]; users: number } | undefined;

  constructor(options: SegmentOptions) {
    this.#options = options;
  }

  /**
   * Who else answers at the address; undefined when nobody does.
   * @throws Error when no interface can be asked: silence would then mean nothing
   */
  readonly ask: AskSegment = async (address, signal) => {
    const shared = this.#shared ?? this.#open();
    this.#shared = shared;
    shared.users++;
    try {
      const replies = await shared.initiator.query(address, { ...PROBE, signal });
      const own = this.#options.ownMacs();
      const stranger = replies.find(({ mac }) => !own.has(mac));
      return stranger && { mac: stranger.mac, interface: stranger.interfaceName };
    } finally {
      shared.users--;
      if (shared.users === 0) {
        for (const socket of shared.sockets) socket.close();
        if (this.#shared === shared) this.#shared = undefined;
      }
    }
  };

  #open(): { initiator: Initiator; sockets: FrameSocket[]; users: number } {
    const sockets: FrameSocket[] = [];
    for (const name of this.#options.interfaces()) {
      try {
        sockets.push(this.#options.open(name));
      } catch (error) {
        this.#options.log.warn({ interface: name, error }, 'interface cannot be asked for addresses in use');
      }
    }
    if (sockets.length === 0) throw new Error('no interface to ask whether the address is in use: is one of --interfaces up?');
    return { initiator: new Initiator(sockets), sockets, users: 0 };
  }
}
