import { type FrameSocket, Initiator, type TargetAddress } from '../../aoe/mod.ts';
import type { Logger } from '../../run/log.ts';

/**
 * Four queries, after 0, 20, 60 and 140 ms, since the pause doubles each time. A target answers in well under a millisecond unless its
 * host is busy, and any frame may be lost. A claim waits for this: a target that answers later is found a second after the export.
 */
const PROBE = { timeoutMs: 180, retransmitMs: 20, settleMs: 20, attempts: 4 } as const;

/** Another target that answers at an address of ours. */
export interface Stranger {
  mac: string;
  /** Our interface that received its answer. */
  interface: string;
}

/** Finds another target that answers at the address; undefined when there is none. */
export type ProbeAddress = (address: TargetAddress, signal: AbortSignal) => Promise<Stranger | undefined>;

export interface AddressProbeOptions {
  /** The interfaces to probe on: those that volumes are served on and that are up. */
  interfaces: () => readonly string[];
  /** MAC addresses of our own target: it also answers on other interfaces of the same segment. */
  ownMacs: () => ReadonlySet<string>;
  open: (interfaceName: string) => FrameSocket;
  log: Logger;
}

/** Probes addresses on the segment. Probes at the same time share their sockets, and the last one closes them. */
export class AddressProbe {
  readonly #options: AddressProbeOptions;
  #shared: { initiator: Initiator; sockets: FrameSocket[]; users: number } | undefined;

  constructor(options: AddressProbeOptions) {
    this.#options = options;
  }

  /**
   * Probes an address.
   * @throws Error when no interface can be used: silence would then mean nothing
   */
  readonly ask: ProbeAddress = async (address, signal) => {
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
        this.#options.log.warn({ interface: name, error }, 'addresses cannot be probed on this interface');
      }
    }
    if (sockets.length === 0) throw new Error('the address could not be probed on any interface: is one of --interfaces up?');
    return { initiator: new Initiator(sockets), sockets, users: 0 };
  }
}
