import { type Log, messageOf } from '../../../kube/mod.ts';
import type { StagedVolumes } from '../record/staged-volumes.ts';

/** Checks in a row, some 30 s apart, that must find the node unable to mount volumes before its registration is withdrawn. */
const PATIENCE = 2;

interface Server {
  start(): Promise<void>;
  stop(): Promise<void>;
}

export interface KubeletRegistrationOptions {
  /** Makes the server of the registration socket. The kubelet registers the driver while that socket exists. */
  readonly server: () => Server;
  readonly staged: Pick<StagedVolumes, 'list' | 'listLost'>;
  readonly log: Log;
}

/**
 * Registers the driver with the kubelet while this node can mount volumes. Without a registration the node is not in the CSINode
 * object, so that the scheduler keeps pods with volumes away (from Kubernetes 1.37 on, CSIDriver.spec.preventPodSchedulingIfMissing),
 * and the kubelet writes no topology label.
 *
 * The kubelet unmounts only through a registered driver. A node that cannot mount, but still has volumes, is registered, too, without
 * a topology. The kubelet asks for the topology only when a driver is registered: the driver is registered again when the node can mount.
 */
export class KubeletRegistration {
  readonly #options: KubeletRegistrationOptions;
  #server: Server | undefined;
  #hasTopology = false;
  #failures = 0;
  #isStopped = false;

  constructor(options: KubeletRegistrationOptions) {
    this.#options = options;
  }

  /** Whether NodeGetInfo tells the segment, so that pods with volumes may be sent here. */
  get hasTopology(): boolean {
    return this.#hasTopology;
  }

  /** Registers, or withdraws the registration, as the node can mount volumes or not. Call it after each check of the node. It never rejects. */
  async update(canMount: boolean): Promise<void> {
    const { log } = this.#options;
    try {
      this.#failures = canMount ? 0 : this.#failures + 1;
      if (canMount) {
        if (this.#server && !this.#hasTopology) await this.#close();
        if (!this.#server) await this.#open(true);
      } else if (!this.#server) {
        if (!(await this.#hasVolumes())) return;
        log.warn({}, 'this node cannot mount volumes; the driver is registered so that the kubelet can unmount what is left');
        await this.#open(false);
      } else if (this.#failures >= PATIENCE && !(await this.#hasVolumes())) {
        log.warn({}, 'this node cannot mount volumes: the registration with the kubelet is withdrawn');
        await this.#close();
      }
    } catch (error) {
      log.error({ error: messageOf(error) }, 'the registration with the kubelet failed; it is tried again');
    }
  }

  /** Withdraws the registration for good. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#close();
  }

  async #open(hasTopology: boolean): Promise<void> {
    if (this.#isStopped) return;
    const server = this.#options.server();
    // The kubelet calls as soon as it sees the socket.
    this.#hasTopology = hasTopology;
    this.#server = server;
    try {
      await server.start();
    } catch (error) {
      if (this.#server === server) this.#server = undefined;
      throw error;
    }
    // stop() may have come while it started.
    if (this.#isStopped) await server.stop();
  }

  async #close(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    await server?.stop();
  }

  async #hasVolumes(): Promise<boolean> {
    const { staged } = this.#options;
    return (await staged.list()).length > 0 || (await staged.listLost()).length > 0;
  }
}
