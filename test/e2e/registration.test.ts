import { Cluster } from '../testbed/cluster.ts';
import { NAMESPACE } from '../testbed/install.ts';

const WORKER = 'worker-1';

/** A node that cannot mount volumes shall not attract pods that need one. */
describe('the registration with the kubelet', () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await Cluster.attach();
  });
  const rename = (from: string, to: string) =>
    cluster.guest(WORKER).exec(`ip link set ${from} down; ip link set ${from} name ${to}; ip link set ${to} up`);
  afterAll(async () => {
    await rename('away0', 'vec0').catch(() => '');
  });

  const topologyKeys = async (): Promise<string[] | undefined> => {
    const { spec } = await cluster.getJson('csinode', WORKER);
    return spec.drivers?.find(({ name }: { name: string }) => name === 'aoe.dev')?.topologyKeys;
  };
  const condition = async () => {
    const { status } = await cluster.getJson('aoenode', WORKER);
    return status?.conditions?.find(({ type }: { type: string }) => type === 'InitiatorReady') as { status: string; reason: string };
  };

  it('is missing on a node that cannot mount volumes, and comes by itself when it can', async () => {
    // A test before this one may have restarted the node.
    await cluster.poll(async () => ((await topologyKeys()) === undefined ? undefined : true), {
      timeoutMs: 60_000,
      what: `the driver to be registered on ${WORKER} in the beginning`,
    });
    expect(await topologyKeys()).toStrictEqual(['aoe.dev/segment']);
    await rename('vec0', 'away0');
    const select = ['-l', 'app.kubernetes.io/component=node', '--field-selector', `spec.nodeName=${WORKER}`];
    await cluster.kubectl(['-n', NAMESPACE, 'delete', 'pod', ...select, '--grace-period=2']);
    await cluster.poll(async () => ((await condition()).reason === 'NoSuchInterface' ? true : undefined), {
      timeoutMs: 60_000,
      what: `${WORKER} to find that it cannot mount volumes`,
    });
    await cluster.poll(async () => ((await topologyKeys()) === undefined ? true : undefined), {
      timeoutMs: 60_000,
      what: `the CSINode of ${WORKER} to be without the driver`,
    });

    await rename('away0', 'vec0');
    await cluster.poll(async () => ((await topologyKeys())?.length === 1 ? true : undefined), {
      timeoutMs: 90_000,
      what: `the driver to be registered on ${WORKER}`,
      explain: async () => JSON.stringify(await condition()),
    });
    // The AoENode is written after the registration.
    await cluster.poll(async () => ((await condition()).status === 'True' ? true : undefined), {
      timeoutMs: 60_000,
      what: `condition InitiatorReady of ${WORKER}`,
    });
  });
});
