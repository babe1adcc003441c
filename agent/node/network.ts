import { listInterfaces, type NetworkInterface } from '../../aoe/mod.ts';
import { TARGET_END } from '../../api/local-link.ts';
import { messageOf } from '../../kube/mod.ts';
import type { Exec } from '../../run/exec.ts';
import type { Logger } from '../../run/log.ts';
import { within } from '../../run/within.ts';
import { Subscribers } from '../subscribers.ts';
import type { TargetConnection } from '../target/connection.ts';
import { chooseInterfaces, type InterfaceSelection } from './interfaces.ts';
import { ensureLocalLink, type LocalLink, localLinkState } from './local-link.ts';

const CHECK_EVERY_MS = 10_000;

export interface NodeNetworkOptions {
  /** Name of this node. */
  node: string;
  selection: InterfaceSelection;
  target: Pick<TargetConnection, 'connected' | 'interfaces' | 'setInterfaces' | 'subscribe'>;
  run: Exec;
  log: Logger;
  list?: () => Promise<readonly NetworkInterface[]>;
  /** Same as {@link localLinkState}. */
  linkState?: () => Promise<string | undefined>;
}

/** Keeps the local link in place, and the target on the chosen interfaces. */
export class NodeNetwork {
  readonly #options: NodeNetworkOptions;
  readonly #subscribers = new Subscribers<void>();
  #link: LocalLink | { problem: string } = { problem: 'it is not made yet' };
  /** State of the pair when it was last as it should be; undefined while it is not. */
  #goodLinkState: string | undefined;
  #chosen: readonly string[] = [];
  #present: readonly NetworkInterface[] = [];
  /** The interfaces that the target was last given in this connection, as a key to compare; empty when it was given none. */
  #sent = '';
  #wake = (): void => {};

  constructor(options: NodeNetworkOptions) {
    this.#options = options;
  }

  /** Calls the listener when the local link was made, changed or lost. */
  subscribe(listener: () => void): void {
    this.#subscribers.add(listener);
  }

  /** The local link, or why there is none. */
  get link(): LocalLink | { problem: string } {
    return this.#link;
  }

  /** The interfaces to probe addresses on: those that are served on and up. No other target can be on the local link. */
  segment(): string[] {
    const up = new Set(this.#present.filter((each) => each.up).map(({ name }) => name));
    return this.#chosen.filter((name) => name !== TARGET_END && up.has(name));
  }

  /** The same interfaces with their MAC addresses. */
  initiators(): { name: string; mac: string }[] {
    const names = new Set(this.segment());
    return this.#present.filter(({ name }) => names.has(name)).map(({ name, mac }) => ({ name, mac }));
  }

  /** MAC addresses from which our own target answers. */
  ownMacs(): ReadonlySet<string> {
    const macs = this.#present.filter(({ name }) => this.#chosen.includes(name)).map(({ mac }) => mac);
    return new Set([...macs, ...this.#options.target.interfaces().map(({ mac }) => mac)]);
  }

  /** Checks again and again, at once when the target's connection or interfaces change, until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { target, log } = this.#options;
    const unsubscribe = target.subscribe(({ type }) => {
      if (type === 'connection') this.#sent = '';
      if (type !== 'volume') this.#wake();
    });
    try {
      while (!signal.aborted) {
        const woken = new Promise<void>((resolve) => (this.#wake = resolve));
        await this.check(signal).catch((error: unknown) => {
          if (!signal.aborted) log.warn({ error }, 'interfaces could not be set');
        });
        await within(CHECK_EVERY_MS, woken, signal);
      }
    } finally {
      unsubscribe();
    }
  }

  /**
   * Checks once, and gives the target its interfaces when they have changed.
   * @throws TargetError
   */
  async check(signal: AbortSignal): Promise<void> {
    const { selection, target, log, list = listInterfaces } = this.#options;
    await this.#checkLink(signal);
    this.#present = await list();
    this.#chosen = chooseInterfaces(selection, this.#present, this.#chosen);
    const key = this.#chosen.join(',');
    if (!target.connected || key === this.#sent) return;
    // Before the call: a connection that is made meanwhile is a new one, which was not given them.
    this.#sent = key;
    try {
      await target.setInterfaces([...this.#chosen], signal);
    } catch (error) {
      this.#sent = '';
      throw error;
    }
    log.info({ interfaces: this.#chosen }, 'serving on interfaces');
  }

  async #checkLink(signal: AbortSignal): Promise<void> {
    const { node, run, log, linkState = localLinkState } = this.#options;
    const state = await linkState();
    if (state !== undefined && state === this.#goodLinkState) return;
    const before = JSON.stringify(this.#link);
    this.#goodLinkState = undefined;
    try {
      this.#link = await ensureLocalLink(node, run, signal);
      // It was as it should be, and nobody has changed it meanwhile.
      if ((await linkState()) === state) this.#goodLinkState = state;
    } catch (error) {
      signal.throwIfAborted();
      this.#link = { problem: messageOf(error) };
    }
    if (JSON.stringify(this.#link) === before) return;
    if ('problem' in this.#link) log.warn(this.#link, 'no local link');
    this.#subscribers.emit();
  }
}
