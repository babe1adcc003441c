import { setTimeout as delay } from 'node:timers/promises';
import type { AoEPool } from '../../api/pool.ts';
import { type Informer, type Log, messageOf } from '../../kube/mod.ts';
import { RpcServer } from '../../rpc/mod.ts';
import { aborted } from '../../run/aborted.ts';
import { selfSigned } from './certificate.ts';
import { BLOCKS_SERVICE, type BlocksServiceOptions, blocksService } from './service.ts';

const RETRY_MS = 30_000;

/** What the AoENode says about the service, so that its caller knows where it is and whom it speaks to. */
export interface BlocksAddress {
  port: number;
  /** In PEM. */
  certificate: string;
}

export interface BlocksServerOptions extends Omit<BlocksServiceOptions, 'pools'> {
  pools: Pick<Informer<AoEPool>, 'get' | 'synced'>;
  /** HOST:PORT to serve on. */
  listen: string;
  log: Log;
}

/** Serves {@link blocksService} on the network, with a certificate that is made at each start. */
export class BlocksServer {
  readonly #options: BlocksServerOptions;
  #address: BlocksAddress | undefined;

  constructor(options: BlocksServerOptions) {
    this.#options = options;
  }

  /** Undefined while it does not serve. */
  get address(): BlocksAddress | undefined {
    return this.#address;
  }

  /**
   * Serves until the signal is aborted.
   * @param onAddress called when the address is known
   */
  async run(signal: AbortSignal, onAddress: () => void): Promise<void> {
    await Promise.race([this.#options.pools.synced, aborted(signal)]);
    if (signal.aborted) return;
    const server = await this.#start(signal);
    onAddress();
    await aborted(signal);
    await server?.stop();
  }

  /** Tries until it serves: when another program has the port, the volumes of this node are none the worse. */
  async #start(signal: AbortSignal): Promise<RpcServer | undefined> {
    const { node, listen, log } = this.#options;
    const identity = selfSigned(`aoe-csi-agent ${node}`.slice(0, 64));
    while (!signal.aborted) {
      const server = new RpcServer({ address: listen, identity, log });
      server.add(...BLOCKS_SERVICE, blocksService(this.#options));
      try {
        await server.start();
        if (server.port !== undefined) this.#address = { port: server.port, certificate: identity.certificate };
        return server;
      } catch (error) {
        log.error({ address: listen, error: messageOf(error) }, 'blocks of snapshots cannot be served; tried again');
        await delay(RETRY_MS, undefined, { signal }).catch(() => {});
      }
    }
    return undefined;
  }
}
