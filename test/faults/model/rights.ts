/** So many writes are remembered; a link keeps none for longer than that takes. */
const MEMORY = 100_000;

/**
 * Who may write, by what the CSI controller has answered, and every write that was answered though it reached the target
 * when its host had no right. It looks at the cable of the target, so that a frame counts when it arrives, not when it was sent.
 */
export class Rights {
  readonly #allowed = new Set<string>();
  /** Whether a write, by MAC and tag, had the right when it first arrived. */
  readonly #arrived = new Map<string, boolean>();
  readonly violations: string[] = [];
  /** Writes that arrived without the right, and late copies of such that had come in time: how much there was to refuse. */
  readonly seen = { without: 0, lateCopies: 0 };

  /** A host is about to be admitted: from here on it may be. */
  begin(mac: string): void {
    this.#allowed.add(mac);
  }

  /** The controller has answered that no other host is admitted. */
  only(mac: string): void {
    this.#allowed.clear();
    this.#allowed.add(mac);
  }

  /** The controller has answered that the host is no longer admitted. */
  end(mac: string): void {
    this.#allowed.delete(mac);
  }

  /** A write reaches the target. */
  arrives(mac: string, tag: number): void {
    const key = `${mac} ${tag}`;
    // A copy of a write that came in time may be answered at any time: its data is the same, and the check of the disk covers it.
    const isAllowed = this.#allowed.has(mac);
    const inTime = this.#arrived.get(key);
    if (!isAllowed && inTime) this.seen.lateCopies++;
    if (inTime !== undefined) return;
    if (!isAllowed) this.seen.without++;
    this.#arrived.set(key, isAllowed);
    if (this.#arrived.size > MEMORY) this.#arrived.delete(this.#arrived.keys().next().value ?? '');
  }

  /** The target has answered a write with success. */
  answered(mac: string, tag: number): void {
    if (this.#arrived.get(`${mac} ${tag}`) === false) this.violations.push(`${mac} had write ${tag} answered without the right to`);
  }
}
