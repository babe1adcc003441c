import { type ConfigReply, type FrameSocket, Initiator, SECTOR, type TargetAddress } from '../../aoe/mod.ts';
import type { Logger } from '../../run/log.ts';

/**
 * Four queries, after 0, 20, 60 and 140 ms, since the pause doubles each time. A target answers in well under a millisecond unless its
 * host is busy, and any frame may be lost. A claim waits for this: a target that answers later is found a second after the export.
 */
const PROBE = { timeoutMs: 180, retransmitMs: 20, settleMs: 20, attempts: 4 } as const;

/** Five queries in a second, for a disk that should be there: most answer at once, and one that is busy has this second. */
const SURVEY = { timeoutMs: 1_000, retransmitMs: 50, settleMs: 50, attempts: 5 } as const;
/** For how long probes join those that are under way, in milliseconds: an interface that was made again needs a new socket. */
const SHARED_MS = 10_000;

/** Another target that answers at an address of ours. */
export interface Stranger {
  mac: string;
  /** Our interface that received its answer. */
  interface: string;
}

/**
 * Finds another target that answers at the address; undefined when there is none.
 * @param isPatient waits up to a second for an answer instead of a fifth: the target may be busy
 */
export type ProbeAddress = (
  address: TargetAddress,
  signal: AbortSignal,
  options?: { isPatient?: boolean },
) => Promise<Stranger | undefined>;

/** The disk of another target, as one of our interfaces sees it. */
export interface ExternalDisk extends Stranger {
  /** Undefined when the target answers with an error. */
  configString: Uint8Array | undefined;
  /** Undefined, with `bytes`, when the target does not say what its disk is. */
  serial: string | undefined;
  bytes: number | undefined;
}

/** Finds the disks of other targets at the address: one for each path; none when nobody answers. */
export type SurveyAddress = (address: TargetAddress, signal: AbortSignal) => Promise<ExternalDisk[]>;

export interface AddressProbeOptions {
  /** The interfaces to probe on: those that volumes are served on and that are up. */
  interfaces: () => readonly string[];
  /** MAC addresses of our own target: it also answers on other interfaces of the same segment. */
  ownMacs: () => ReadonlySet<string>;
  open: (interfaceName: string) => FrameSocket;
  log: Logger;
}

/** Sockets on all interfaces, and who uses them. */
interface Shared {
  initiator: Initiator;
  sockets: FrameSocket[];
  users: number;
  /** Names of the interfaces, with those that could not be opened. */
  interfaces: string;
  openedAt: number;
}

/** Probes addresses on the segment. Probes at the same time share their sockets, and the last one closes them. */
export class AddressProbe {
  readonly #options: AddressProbeOptions;
  #shared: Shared | undefined;

  constructor(options: AddressProbeOptions) {
    this.#options = options;
  }

  /**
   * Probes an address.
   * @throws Error when no interface can be used: silence would then mean nothing
   */
  readonly ask: ProbeAddress = (address, signal, { isPatient = false } = {}) =>
    this.#with(async (initiator) => {
      const [stranger] = this.#others(await initiator.query(address, { ...(isPatient ? SURVEY : PROBE), signal }));
      return stranger && { mac: stranger.mac, interface: stranger.interfaceName };
    });

  /**
   * Asks other targets at an address for their config strings, and what their disks are.
   * @throws Error when no interface can be used
   */
  readonly survey: SurveyAddress = (address, signal) =>
    this.#with(async (initiator) => {
      const replies = this.#others(await initiator.query(address, { ...SURVEY, signal }));
      return await Promise.all(
        replies.map(async ({ mac, interfaceName, error, string }): Promise<ExternalDisk> => {
          const [{ identity } = {}] = await initiator.identify(address, { ...SURVEY, to: { mac, interfaceName }, signal });
          const configString = error === 0 ? string : undefined;
          return { mac, interface: interfaceName, configString, serial: identity?.serial, bytes: identity && identity.sectors * SECTOR };
        }),
      );
    });

  /** Answers that do not come from our own target. */
  #others(replies: readonly ConfigReply[]): ConfigReply[] {
    const own = this.#options.ownMacs();
    return replies.filter(({ mac }) => !own.has(mac));
  }

  async #with<R>(use: (initiator: Initiator) => Promise<R>): Promise<R> {
    const shared = this.#current() ?? this.#open();
    this.#shared = shared;
    shared.users++;
    try {
      return await use(shared.initiator);
    } finally {
      shared.users--;
      if (shared.users === 0) {
        for (const socket of shared.sockets) socket.close();
        if (this.#shared === shared) this.#shared = undefined;
      }
    }
  }

  /** The sockets of the probes that are under way, if they are on the interfaces that there are now. */
  #current(): Shared | undefined {
    const shared = this.#shared;
    const isFresh = shared && performance.now() - shared.openedAt < SHARED_MS && shared.interfaces === this.#options.interfaces().join();
    return isFresh ? shared : undefined;
  }

  #open(): Shared {
    const names = this.#options.interfaces();
    const sockets: FrameSocket[] = [];
    for (const name of names) {
      try {
        sockets.push(this.#options.open(name));
      } catch (error) {
        this.#options.log.warn({ interface: name, error }, 'addresses cannot be probed on this interface');
      }
    }
    if (sockets.length === 0) throw new Error('the address could not be probed on any interface: is one of --interfaces up?');
    return { initiator: new Initiator(sockets), sockets, users: 0, interfaces: names.join(), openedAt: performance.now() };
  }
}
