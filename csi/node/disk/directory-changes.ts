import { watch } from 'node:fs';

/** Waits for the next change in a directory, when the kernel can report changes: a node can be out of inotify instances. */
export class DirectoryChanges implements Disposable {
  readonly #stop = new AbortController();
  #wake: () => void = () => {};

  constructor(directory: string) {
    try {
      // It throws at once when there is no instance left (EMFILE), and emits later errors.
      watch(directory, { signal: this.#stop.signal }, () => this.#wake()).on('error', () => {});
    } catch {
      // The caller polls.
    }
  }

  /** Resolves at the next change, or after `timeoutMs`. */
  next(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
  }
}
