import { setTimeout as delay } from 'node:timers/promises';
import { listInterfaces, type NetworkInterface } from '../../aoe/mod.ts';
import { TARGET_END } from '../../api/local-link.ts';
import { messageOf } from '../../kube/mod.ts';
import type { Exec } from '../../run/exec.ts';
import type { Logger } from '../../run/log.ts';
import type { TargetLink } from '../target/connection.ts';
import { chooseInterfaces, type InterfaceSelection } from './interfaces.ts';
import { ensureLocalLink, type LocalLink } from './local-link.ts';

const LOOK_EVERY_MS = 10_000;

export interface ServingOptions {
  /** Name of this node. */
  node: string;
  selection: InterfaceSelection;
  target: TargetLink;
  run: Exec;
  /** Told when the local link is there, or is not any more. */
  changed: () => void;
  log: Logger;
  list?: () => Promise<readonly NetworkInterface[]>;
}

/** Keeps the local link in place, and the target on the interfaces that it shall serve. */
export class Serving {
  readonly #options: ServingOptions;
  #link: LocalLink | { problem: string } = { problem: 'it is not made yet' };
  #chosen: readonly string[] = [];
  #present: readonly NetworkInterface[] = [];
  /** What the target was last told, in this connection. */
  #told = '';
  #wake = (): void => {};

  constructor(options: ServingOptions) {
    this.#options = options;
  }

  get link(): LocalLink | { problem: string } {
    return this.#link;
  }

  /** Interfaces of the segment to ask on: those that are served on and up. The local link has no strangers on it. */
  segment(): string[] {
    const up = new Set(this.#present.filter((each) => each.up).map(({ name }) => name));
    return this.#chosen.filter((name) => name !== TARGET_END && up.has(name));
  }

  /** MAC addresses under which the target itself answers. */
  ownMacs(): ReadonlySet<string> {
    const macs = this.#present.filter(({ name }) => this.#chosen.includes(name)).map(({ mac }) => mac);
    return new Set([...macs, ...this.#options.target.interfaces().map(({ mac }) => mac)]);
  }

  async run(signal: AbortSignal): Promise<void> {
    const { target, log } = this.#options;
    const unsubscribe = target.subscribe(({ type }) => {
      if (type === 'connection') this.#told = '';
      if (type !== 'volume') this.#wake();
    });
    try {
      while (!signal.aborted) {
        const woken = new Promise<void>((resolve) => (this.#wake = resolve));
        await this.look(signal).catch((error: unknown) => {
          if (!signal.aborted) log.warn({ error }, 'interfaces could not be set');
        });
        const rest = new AbortController();
        const either = AbortSignal.any([signal, rest.signal]);
        await Promise.race([woken, delay(LOOK_EVERY_MS, undefined, { signal: either }).catch(() => {})]);
        rest.abort();
      }
    } finally {
      unsubscribe();
    }
  }

  /** Looks once, and tells the target when something is to change. */
  async look(signal: AbortSignal): Promise<void> {
    const { node, selection, target, run, changed, log, list = listInterfaces } = this.#options;
    const before = JSON.stringify(this.#link);
    try {
      this.#link = await ensureLocalLink(node, run, signal);
    } catch (error) {
      signal.throwIfAborted();
      this.#link = { problem: messageOf(error) };
    }
    if (JSON.stringify(this.#link) !== before) {
      if ('problem' in this.#link) log.warn(this.#link, 'no local link');
      changed();
    }
    this.#present = await list();
    this.#chosen = chooseInterfaces(selection, this.#present, this.#chosen);
    const key = this.#chosen.join(',');
    if (!target.connected || key === this.#told) return;
    await target.setInterfaces([...this.#chosen], signal);
    this.#told = key;
    log.info({ interfaces: this.#chosen }, 'serving on interfaces');
  }
}
