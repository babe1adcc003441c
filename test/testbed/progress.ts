export interface StepOptions {
  /** How long it usually takes. */
  readonly usually?: string;
  /** Where to look when it fails. */
  readonly logs?: string;
}

/** Does work that a person waits for, and reports it. */
export type Step = <T>(what: string, work: () => Promise<T>, options?: StepOptions) => Promise<T>;

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Prints what is being done, since when, and which step failed. */
export class Progress {
  readonly #begun = performance.now();
  #current: { what: string; logs: string | undefined } | undefined;

  async step<T>(what: string, work: () => Promise<T> | T, options: StepOptions = {}): Promise<T> {
    const started = performance.now();
    this.#current = { what, logs: options.logs };
    process.stdout.write(
      `[${this.#seconds(this.#begun).padStart(5)} s] ${what}${options.usually ? ` (usually ${options.usually})` : ''} …\n`,
    );
    const result = await work();
    if (performance.now() - started > 1000) process.stdout.write(`          ${this.#seconds(started)} s\n`);
    this.#current = undefined;
    return result;
  }

  /** Says which step failed, why, and where its logs are. */
  fail(error: unknown): void {
    const { what, logs } = this.#current ?? {};
    console.error(`\nFAILED${what ? ` at: ${what}` : ''}\n${textOf(error)}`);
    if (error instanceof Error && error.cause) console.error(`because of: ${textOf(error.cause)}`);
    if (logs) console.error(`logs: ${logs}`);
  }

  #seconds(since: number): string {
    return ((performance.now() - since) / 1000).toFixed(1);
  }
}
