import type { AoENode } from '../../api/node.ts';
import { fieldChanged, type Informer } from '../../kube/mod.ts';

/** How long an address that its AoENode no longer names stays admitted, in milliseconds: the host may still send from it. */
export const HOLD_MS = 5 * 60_000;

interface Owned {
  /** metadata.uid of the AoENode: a new machine under an old name inherits nothing. */
  uid: string | undefined;
  /** By MAC address, when the AoENode was first seen without it; undefined while it names it. */
  leftAt: Map<string, number | undefined>;
}

const interfacesChanged = fieldChanged<AoENode>(({ status }) => status?.interfaces);

/**
 * Remembers which node had which MAC address, for the life of this program. So an address that its AoENode no longer names is not
 * taken for one that no node ever named. Times are in milliseconds.
 */
export class MacMemory {
  readonly #owned = new Map<string, Owned>();
  /** By MAC address, the node that named it first of all that name it now. */
  readonly #first = new Map<string, string>();
  readonly #now: () => number;

  constructor({ now = () => performance.now() }: { now?: () => number } = {}) {
    this.#now = now;
  }

  /**
   * Notes what the AoENodes name, now and at each change. The informer calls its listeners before anything else can run, so a
   * reconcile that sees a change always finds it noted here. Otherwise it would take an address that a node has just dropped for
   * an unknown one.
   */
  follow(nodes: Pick<Informer<AoENode>, 'list' | 'subscribe'>): this {
    nodes.subscribe((change) => {
      if (interfacesChanged(change)) this.note(nodes.list());
    });
    this.note(nodes.list());
    return this;
  }

  /** Notes what all AoENodes name now. */
  note(nodes: readonly AoENode[]): void {
    for (const owned of this.#owned.values()) for (const mac of this.#expired(owned)) owned.leftAt.delete(mac);
    const named = new Map(nodes.map((node) => [node.metadata.name, macsOf(node)]));
    const all = new Set(nodes.flatMap(({ status }) => (status?.interfaces ?? []).map(({ mac }) => mac.toLowerCase())));
    for (const { metadata } of nodes) this.#noteNode(metadata, named.get(metadata.name) ?? new Set());
    this.#noteFirst(named);
    for (const [name, owned] of this.#owned) {
      const macs = named.get(name) ?? new Set();
      for (const [mac, at] of owned.leftAt) {
        if (macs.has(mac)) continue;
        // Another node has it now: it is never again admitted on behalf of this one.
        if (all.has(mac)) owned.leftAt.delete(mac);
        else if (at === undefined) owned.leftAt.set(mac, this.#now());
      }
      for (const mac of this.#expired(owned)) owned.leftAt.delete(mac);
    }
  }

  /** Whether the node has named any address since this program began. */
  knows(node: string): boolean {
    return this.#owned.has(node);
  }

  /** Whether a node is known to have, or to have had, the address. */
  isOwned(mac: string): boolean {
    return [...this.#owned.values()].some((owned) => owned.leftAt.has(mac) && !this.#expired(owned).includes(mac));
  }

  /** The node that named the address before all others that name it now; undefined when that is not known, because they did at once. */
  firstOwner(mac: string): string | undefined {
    return this.#first.get(mac);
  }

  /**
   * MAC addresses that the node no longer names and that no other node names: all of them, as for a node that names none any
   * more, or those that it dropped within HOLD_MS.
   */
  left(node: string, { all }: { all: boolean }): string[] {
    const owned = [...(this.#owned.get(node)?.leftAt ?? [])];
    return owned.flatMap(([mac, at]) => (at !== undefined && (all || !this.#isOver(at)) ? [mac] : []));
  }

  #noteNode({ name, uid }: AoENode['metadata'], macs: ReadonlySet<string>): void {
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

  #noteFirst(named: ReadonlyMap<string, ReadonlySet<string>>): void {
    for (const [mac, name] of this.#first) if (!named.get(name)?.has(mac)) this.#first.delete(mac);
    const claims = new Map<string, string[]>();
    for (const [name, macs] of named) for (const mac of macs) claims.set(mac, [...(claims.get(mac) ?? []), name]);
    for (const [mac, [name, ...others]] of claims)
      if (name !== undefined && others.length === 0 && !this.#first.has(mac)) this.#first.set(mac, name);
  }

  /** Addresses that left their node HOLD_MS ago. A node that names no address at all keeps them: it may only have restarted. */
  #expired({ leftAt }: Owned): string[] {
    const entries = [...leftAt];
    if (!entries.some(([, at]) => at === undefined)) return [];
    return entries.flatMap(([mac, at]) => (at !== undefined && this.#isOver(at) ? [mac] : []));
  }

  #isOver(at: number): boolean {
    return this.#now() - at >= HOLD_MS;
  }
}

/** The addresses from which a node reaches targets on other nodes. */
function macsOf({ status }: AoENode): Set<string> {
  return new Set((status?.interfaces ?? []).filter(({ local }) => !local).map(({ mac }) => mac.toLowerCase()));
}
