import type { Cluster } from '../testbed/cluster.ts';

interface PersistentVolume {
  metadata: { name: string };
  spec: { claimRef?: { namespace: string }; persistentVolumeReclaimPolicy: string };
}

/**
 * Waits for an event about an object whose message `says` this, and gives its message. Other events of the same reason may come first:
 * Kubernetes' own programs have it when something takes too long.
 * @param namespace of the object; `default` has the events about objects that are in none
 */
export function eventAbout(cluster: Cluster, name: string, reason: string, says = /./, namespace = 'default'): Promise<string> {
  const select = `involvedObject.name=${name},reason=${reason}`;
  const messages = async (): Promise<string[]> => {
    const events = await cluster.kubectl(['-n', namespace, 'get', 'events', '--field-selector', select, '-o', 'json']);
    return (JSON.parse(events) as { items: { message: string }[] }).items.map(({ message }) => message);
  };
  return cluster.poll(async () => (await messages()).find((message) => says.test(message)), {
    timeoutMs: 150_000,
    what: `an event ${reason} about ${name} in ${namespace} that says ${says}`,
    explain: async () => (await messages()).join('\n'),
  });
}

/** A namespace of one test file, deleted with all that is in it. */
export class Namespace {
  readonly #cluster: Cluster;
  readonly name: string;

  private constructor(cluster: Cluster, name: string) {
    this.#cluster = cluster;
    this.name = name;
  }

  static async create(cluster: Cluster, name: string): Promise<Namespace> {
    await cluster.apply([{ apiVersion: 'v1', kind: 'Namespace', metadata: { name: `e2e-${name}` } }]);
    const namespace = new Namespace(cluster, `e2e-${name}`);
    await cluster.poll(async () => (await namespace.kubectl('get', 'serviceaccount', '-o', 'name')).includes('/default') || undefined, {
      timeoutMs: 60_000,
      what: `the default service account in ${namespace.name}`,
    });
    return namespace;
  }

  kubectl(...args: string[]): Promise<string> {
    return this.#cluster.kubectl(['-n', this.name, ...args]);
  }

  async apply(objects: { metadata: object }[]): Promise<void> {
    await this.#cluster.apply(objects.map((object) => ({ ...object, metadata: { ...object.metadata, namespace: this.name } })));
  }

  /** Waits until a pod's script has run; `exact` as in {@link PollOptions}. */
  async ready(pod: string, timeoutMs = 60_000, { exact = false } = {}): Promise<void> {
    await this.#cluster.poll(
      async () => ((await this.kubectl('exec', pod, '--', 'ls', '/tmp/ready').catch(() => '')) !== '' ? true : undefined),
      {
        timeoutMs,
        exact,
        what: `pod ${this.name}/${pod} to have run its script`,
        explain: () => this.#story(pod),
      },
    );
  }

  /**
   * Waits until what a pod has printed matches, and gives all of it, trimmed. Its script is a moment ahead of its log, and a pod without a
   * readiness probe is Ready before its script has done anything.
   */
  said(pod: string, says = /\S/): Promise<string> {
    const printed = async () => (await this.kubectl('logs', pod)).trim();
    return this.#cluster.poll(
      async () => {
        const text = await printed();
        return says.test(text) ? text : undefined;
      },
      { timeoutMs: 30_000, what: `pod ${this.name}/${pod} to print ${says}`, explain: printed },
    );
  }

  /** Waits until a claim is Bound, and gives the name of its volume. */
  async bound(claim: string): Promise<string> {
    await this.kubectl('wait', 'pvc', claim, '--for=jsonpath={.status.phase}=Bound', '--timeout=60s');
    return this.volumeOf(claim);
  }

  async volumeOf(claim: string): Promise<string> {
    return (await this.kubectl('get', 'pvc', claim, '-o', 'jsonpath={.spec.volumeName}')).trim();
  }

  /** {@link eventAbout} an object of the namespace. */
  event(objectName: string, reason: string, says?: RegExp): Promise<string> {
    return eventAbout(this.#cluster, objectName, reason, says, this.name);
  }

  /** Why a pod does not get on, in few lines: a failure report shows the first ones only. */
  async #story(pod: string): Promise<string> {
    const part = (name: string, text: Promise<string>, lines: number): Promise<string> =>
      text
        .catch(String)
        .then((all) => [`${name}:`, ...all.trimEnd().split('\n').slice(-lines)].map((line) => line.slice(0, 300)).join('\n'));
    const node = (await this.kubectl('get', 'pod', pod, '-o', 'jsonpath={.spec.nodeName}').catch(String)).trim();
    const component = ['-l', 'app.kubernetes.io/component=node', '--field-selector', `spec.nodeName=${node}`];
    const plugin = async () => {
      const name = (await this.#cluster.kubectl(['-n', 'aoe-csi', 'get', 'pods', ...component, '-o', 'name'])).trim();
      return this.#cluster.kubectl(['-n', 'aoe-csi', 'logs', name, '-c', 'csi-node', '--tail=12']);
    };
    const kernel = async () => this.#cluster.guest(node).exec('dmesg | tail -n 6');
    const events = ['get', 'events', '--field-selector', `involvedObject.name=${pod}`, '--sort-by=.lastTimestamp', '--no-headers'];
    const parts = await Promise.all([
      part(`events of the pod, which is on node ${node || '(none yet)'}`, this.kubectl(...events), 8),
      part('VolumeAttachments', this.#cluster.kubectl(['get', 'volumeattachments', '--no-headers']), 6),
      part('log of the node plugin', plugin(), 12),
      part('kernel of the node', kernel(), 6),
    ]);
    return parts.join('\n');
  }

  /**
   * Deletes it, and waits until the volumes that were made for its claims are gone, too: the next test shall not find them. That they go is
   * what other tests show: here it is no failure when one stays.
   */
  async delete(): Promise<void> {
    const { items } = JSON.parse(await this.#cluster.kubectl(['get', 'pv', '-o', 'json'])) as { items: PersistentVolume[] };
    const ours = items.filter(({ spec }) => spec.claimRef?.namespace === this.name && spec.persistentVolumeReclaimPolicy === 'Delete');
    await this.#cluster.kubectl(['delete', 'namespace', this.name, '--timeout=90s']);
    const names = ours.map(({ metadata }) => `pv/${metadata.name}`);
    if (names.length > 0) await this.#cluster.kubectl(['wait', ...names, '--for=delete', '--timeout=20s']).catch(console.log);
  }
}
