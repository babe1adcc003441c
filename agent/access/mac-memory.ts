import type { AoENode } from '../../api/node.ts';

/** How long an address that left its AoENode stays let in, in milliseconds: its host may still send from it. */
export const HOLD_MS = 5 * 60_000;

interface Owned {
  /** Of the AoENode: a machine made anew under an old name inherits nothing. */
  uid: string | undefined;
  /** The time at which each was found to be named no more; undefined while it is. */
  leftAt: Map<string, number | undefined>;
}

/**
 * Remembers which MAC addresses were whose, for the life of this program: what an AoENode names no more can still be told from
 * what nobody ever named, or a person did in spec.initiators.macs. Times are in milliseconds.
 */
export class MacMemory {
  /** By node, each MAC that its AoENode named. */
  readonly #owned = new Map<string, Owned>();
  /** By volume's UID, what its spec.initiators.macs named. */
  readonly #spelled = new Map<string, Set<string>>();
  readonly #now: () => number;

  constructor({ now = () => performance.now() }: { now?: () => number } = {}) {
    this.#now = now;
  }

  /** Takes in what the AoENodes say now. */
  noteNodes(nodes: readonly AoENode[]): void {
    const named = new Map(nodes.map((node) => [node.metadata.name, macsOf(node)]));
    const all = new Set(nodes.flatMap(({ status }) => (status?.interfaces ?? []).map(({ mac }) => mac.toLowerCase())));
    for (const { metadata } of nodes) this.#take(metadata, named.get(metadata.name) ?? new Set());
    for (const [name, { leftAt }] of this.#owned) {
      const macs = named.get(name) ?? new Set();
      for (const [mac, at] of leftAt) {
        if (macs.has(mac)) continue;
        // Another node's now: never again let in on the account of this one.
        if (all.has(mac)) leftAt.delete(mac);
        else if (at === undefined) leftAt.set(mac, this.#now());
        else if (macs.size > 0 && this.#isOver(at)) leftAt.delete(mac);
      }
    }
  }

  /** Takes in what a volume's spec.initiators.macs names now. */
  noteSpec(uid: string, macs: readonly string[]): void {
    const spelled = this.#spelled.get(uid) ?? new Set();
    for (const mac of macs) this.#spelled.set(uid, spelled.add(mac.toLowerCase()));
  }

  forget(uid: string): void {
    this.#spelled.delete(uid);
  }

  /** Whether the node has named any address since this program began. */
  knows(node: string): boolean {
    return this.#owned.has(node);
  }

  /** Whether it is known whose an address is. */
  isOwned(mac: string): boolean {
    return [...this.#owned.values()].some(({ leftAt }) => leftAt.has(mac));
  }

  /** Whether a person let the address in by the volume's spec, now or before. */
  isSpelled(uid: string, mac: string): boolean {
    return this.#spelled.get(uid)?.has(mac) ?? false;
  }

  /** Addresses that the node names no more and that nobody else does: all of a node that names none, else those of the last while. */
  left(node: string, { all }: { all: boolean }): string[] {
    const owned = [...(this.#owned.get(node)?.leftAt ?? [])];
    return owned.flatMap(([mac, at]) => (at !== undefined && (all || !this.#isOver(at)) ? [mac] : []));
  }

  #take({ name, uid }: AoENode['metadata'], macs: ReadonlySet<string>): void {
    let owned = this.#owned.get(name);
    if (owned?.uid !== uid) {
      this.#owned.delete(name);
      owned = undefined;
    }
    if (macs.size === 0) return;
    owned ??= { uid, leftAt: new Map() };
    for (const mac of macs) owned.leftAt.set(mac, undefined);
    this.#owned.set(name, owned);
  }

  #isOver(at: number): boolean {
    return this.#now() - at >= HOLD_MS;
  }
}

/** The addresses under which a node reaches targets elsewhere. */
function macsOf({ status }: AoENode): Set<string> {
  return new Set((status?.interfaces ?? []).filter(({ local }) => !local).map(({ mac }) => mac.toLowerCase()));
}
