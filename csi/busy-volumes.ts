import { Code, RpcError } from '../rpc/status.ts';

/** Runs one operation for a volume at a time. A second one is refused, and its caller repeats it. */
export class BusyVolumes {
  readonly #busy = new Map<string, string>();

  /** @throws RpcError ABORTED when an operation for the volume is under way */
  async run<T>(volumeId: string, operation: string, work: () => Promise<T>): Promise<T> {
    const other = this.#busy.get(volumeId);
    if (other) throw new RpcError(Code.ABORTED, `${operation} of volume ${volumeId}: ${other} is still under way, try again later`);
    this.#busy.set(volumeId, operation);
    try {
      return await work();
    } finally {
      this.#busy.delete(volumeId);
    }
  }
}
