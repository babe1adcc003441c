import { Code, RpcError } from '../rpc/status.ts';

/**
 * Operations that change one part of a volume, and which: those of different parts may run at the same time, as one may wait for minutes, such
 * as a growth, and another must not, such as a detach. Each writes only its own field of the spec, on the resourceVersion that it has read. Any
 * other operation, such as the deletion, is alone.
 */
const PARTS: Readonly<Record<string, string>> = {
  ControllerPublishVolume: 'initiators',
  ControllerUnpublishVolume: 'initiators',
  ControllerExpandVolume: 'capacity',
  ControllerModifyVolume: 'limits',
};

function mayRunTogether(one: string, other: string): boolean {
  const [a, b] = [PARTS[one], PARTS[other]];
  return a !== undefined && b !== undefined && a !== b;
}

/** Runs one operation for a volume, or for a part of it, at a time. A second one is refused, and its caller repeats it. */
export class BusyVolumes {
  readonly #busy = new Map<string, Set<string>>();

  /** @throws RpcError ABORTED when an operation is under way for the volume that must not run at the same time */
  async run<T>(volumeId: string, operation: string, work: () => Promise<T>): Promise<T> {
    const running = this.#busy.get(volumeId) ?? new Set();
    const other = [...running].find((each) => !mayRunTogether(operation, each));
    if (other) throw new RpcError(Code.ABORTED, `${operation} of volume ${volumeId}: ${other} is still under way, try again later`);
    this.#busy.set(volumeId, running.add(operation));
    try {
      return await work();
    } finally {
      running.delete(operation);
      if (running.size === 0) this.#busy.delete(volumeId);
    }
  }
}
