/** The listeners of a kind of event. */
export class Subscribers<E> {
  readonly #listeners = new Set<(event: E) => void>();

  /**
   * Calls the listener at once for each event from now on. It must not throw.
   * @returns ends the subscription
   */
  add(listener: (event: E) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  emit(event: E): void {
    for (const listener of [...this.#listeners]) listener(event);
  }
}
