import type { Cluster } from '../testbed/cluster.ts';
import { NAMESPACE } from '../testbed/install.ts';
import type { Fault } from './faults.ts';

/** Faults that leave nothing behind which could say so itself: programs without a pod, and a node that is lost. */
export class Away {
  readonly #cluster: Cluster;
  readonly #storageNodes: readonly string[];

  constructor(cluster: Cluster, storageNodes: readonly string[]) {
    this.#cluster = cluster;
    this.#storageNodes = storageNodes;
  }

  #kubectl(...args: string[]): Promise<string> {
    return this.#cluster.kubectl(['-n', NAMESPACE, ...args]);
  }

  /** No operator. */
  operator(): Fault[] {
    const scale = (replicas: number) => this.#kubectl('scale', 'deployment/aoe-csi-controller', `--replicas=${replicas}`);
    return [
      {
        what: 'somebody scales the controller to 0',
        fires: [{ alertname: 'AoEOperatorAway' }],
        cause: () => scale(0),
        cure: () => scale(1).then(() => this.#cluster.rolledOut(NAMESPACE)),
      },
    ];
  }

  /** No agents, while the targets go on. */
  agents(): Fault[] {
    const select = (value: string | null) => {
      const spec = { template: { spec: { nodeSelector: { 'e2e.aoe.dev/agent': value } } } };
      return this.#kubectl('patch', 'daemonset', 'aoe-csi-agent', '--type=merge', '-p', JSON.stringify({ spec }));
    };
    return [
      {
        what: 'no node is selected for the agent any more',
        fires: this.#storageNodes.map((node) => ({ alertname: 'AoEAgentSilent', node })),
        // The operator calls an agent silent after 5 minutes.
        withinMs: 480_000,
        cause: () => select('none'),
        cure: () => select(null).then(() => this.#cluster.rolledOut(NAMESPACE)),
      },
    ];
  }

  /** A storage node that is lost, for less long than the nodes' kernels wait for its target. */
  async storageNode(): Promise<Fault[]> {
    const nodes = await this.#kubectl('get', 'pod', '-l', 'app.kubernetes.io/component=controller', '-o', 'jsonpath={..nodeName}');
    // With the operator lost, too, nobody could say which node it is.
    const node = this.#storageNodes.find((name) => !nodes.includes(name));
    if (node === undefined) throw new Error(`the controller is on ${nodes}`);
    return [
      {
        what: `${node} crashes`,
        fires: [{ alertname: 'AoEStorageNodeNotReady', node }],
        cause: () => this.#cluster.guest(node).crash(),
        cure: () => this.#cluster.restore().then(() => this.#cluster.rolledOut(NAMESPACE)),
      },
    ];
  }
}
