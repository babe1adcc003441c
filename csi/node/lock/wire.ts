import {
  type AcquireResult,
  acquire,
  type ConfigReply,
  type IdentifyReply,
  type LockOwner,
  type ReleaseResult,
  release,
  type TargetAddress,
  withInitiator,
} from '../../../aoe/mod.ts';
import { messageOf } from '../../../kube/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';
import type { Wire } from '../contracts.ts';

/** How long a target may take to answer one request, repetitions included. A restart of the target takes less. */
const EXCHANGE_MS = 4_000;

/** AoE exchanges through raw sockets on the AoE interfaces. A socket is open only during an exchange. */
export class SocketWire implements Wire {
  readonly #interfaces: () => Promise<readonly string[]>;

  constructor(interfaces: () => Promise<readonly string[]>) {
    this.#interfaces = interfaces;
  }

  async survey(address: TargetAddress, signal: AbortSignal): Promise<{ configs: ConfigReply[]; identities: IdentifyReply[] }> {
    const options = { timeoutMs: EXCHANGE_MS, signal };
    const names = await this.#names();
    return this.#use(names, async (initiator) => {
      const [configs, identities] = await Promise.all([initiator.query(address, options), initiator.identify(address, options)]);
      return { configs, identities };
    });
  }

  async configs(address: TargetAddress, signal: AbortSignal): Promise<ConfigReply[]> {
    return this.#use(await this.#names(), (initiator) => initiator.query(address, { timeoutMs: EXCHANGE_MS, signal }));
  }

  async acquire(address: TargetAddress, owner: LockOwner, since: string, signal: AbortSignal): Promise<AcquireResult> {
    return this.#use(await this.#names(), (initiator) => acquire(initiator, address, owner, since, { timeoutMs: EXCHANGE_MS, signal }));
  }

  async release(address: TargetAddress, owner: LockOwner, signal: AbortSignal): Promise<ReleaseResult> {
    return this.#use(await this.#names(), (initiator) => release(initiator, address, owner, { timeoutMs: EXCHANGE_MS, signal }));
  }

  async #names(): Promise<readonly string[]> {
    const names = await this.#interfaces();
    if (names.length === 0) throw new RpcError(Code.UNAVAILABLE, 'this node has no AoE interface that is up: see --interfaces');
    return names;
  }

  async #use<T>(names: readonly string[], work: Parameters<typeof withInitiator<T>>[1]): Promise<T> {
    try {
      return await withInitiator(names, work);
    } catch (error) {
      if (error instanceof Error && error.name === 'SocketError') throw new RpcError(Code.UNAVAILABLE, messageOf(error), { cause: error });
      throw error;
    }
  }
}
