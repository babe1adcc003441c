import { setTimeout as delay } from 'node:timers/promises';
import type { AoESnapshotGroup } from '../../api/snapshot-group.ts';
import { Cluster } from '../testbed/cluster.ts';
import { NAMESPACE } from '../testbed/install.ts';
import { aoeSnapshotGroup, aoeVolume, claim, pod, staticVolume } from './manifests.ts';
import { Namespace } from './namespace.ts';

/** Volumes, and their storage nodes. `a` and `c` are in one volume group. */
const VOLUMES = { a: 'storage-1', b: 'storage-2', c: 'storage-1' } as const;
const NAMES = Object.keys(VOLUMES) as (keyof typeof VOLUMES)[];
/** Writes each number to a, then to b, then to c, each on stable storage before the next. The pod fails at the first I/O error. */
const WRITER = `
touch /tmp/ready
n=0
while true; do
  n=$((n+1))
  for d in a b c; do printf '%-4096s' $n | dd of=/dev/$d bs=4096 count=1 conv=fsync,notrunc 2>/dev/null || exit 1; done
  echo $n > /tmp/n
done`;
/** Parts that are killed while a group is taken. */
const KILLED = { target: '[a]oe-target', agent: '[a]gent.js', controller: '[o]perator.js' } as const;
const GROUPS = Number(process.env.SNAPSHOT_GROUPS ?? 4);

describe('group snapshots', () => {
  let cluster: Cluster;
  let ns: Namespace;
  /** Snapshots that are not of this test. */
  let before: string[];
  const volumeOf = (name: string): string => `e2e-group-${name}`;

  beforeAll(async () => {
    cluster = await Cluster.attach();
    ns = await Namespace.create(cluster, 'group');
    await cluster.apply(
      NAMES.flatMap((name) => [
        aoeVolume(volumeOf(name), { capacity: '64Mi', pool: 'thin', nodeName: VOLUMES[name] }),
        staticVolume(volumeOf(name), { volume: volumeOf(name), volumeMode: 'Block' }),
      ]),
    );
    await ns.apply([...NAMES.map((name) => claim(name, { storageClass: '', volumeName: volumeOf(name), volumeMode: 'Block' })), writer()]);
    await ns.ready('writer', 120_000);
    await goesOn();
    before = await data();
  });
  afterAll(async () => {
    await cluster?.kubectl(['delete', 'aoesnapshotgroups', '--all', '--timeout=60s']);
    await ns?.delete();
    for (const kind of ['pv', 'aoev'])
      await cluster?.kubectl(['delete', kind, ...NAMES.map(volumeOf), '--ignore-not-found', '--timeout=90s']);
  });

  /** A pod with all three volumes. */
  function writer() {
    const { spec, ...rest } = pod('writer', { claim: 'a', script: WRITER, block: true, node: 'worker-1' });
    const containers = spec.containers.map((container) => ({
      ...container,
      volumeDevices: NAMES.map((name) => ({ name, devicePath: `/dev/${name}` })),
    }));
    return { ...rest, spec: { ...spec, containers, volumes: NAMES.map((name) => ({ name, persistentVolumeClaim: { claimName: name } })) } };
  }

  const written = async (): Promise<number> => Number((await ns.kubectl('exec', 'writer', '--', 'cat', '/tmp/n')).trim());
  const goesOn = async (): Promise<void> => {
    const last = await written().catch(() => 0);
    await cluster.poll(async () => ((await written()) > last ? true : undefined), { timeoutMs: 90_000, what: 'the writer to go on' });
  };
  const explain = (name: string) => () => cluster.kubectl(['get', 'aoesnapshotgroup', name, '-o', 'yaml']);

  /** Takes a group, and waits for its end. */
  async function take(name: string): Promise<AoESnapshotGroup> {
    await cluster.apply([aoeSnapshotGroup(name, NAMES.map(volumeOf))]);
    return await cluster.poll(
      async () => {
        const group: AoESnapshotGroup = await cluster.getJson('aoesnapshotgroup', name);
        return ['Committed', 'Failed'].includes(group.status?.stage ?? '') ? group : undefined;
      },
      { timeoutMs: 120_000, what: `the end of group ${name}`, intervalMs: 100, explain: explain(name) },
    );
  }

  /** Takes a group when nobody is killed meanwhile. What was killed before may not be there again yet. */
  async function takeUndisturbed(name: string): Promise<AoESnapshotGroup> {
    const pods = ['pods', '-l', 'app.kubernetes.io/component in (agent,target,controller)', '--for=condition=Ready', '--timeout=120s'];
    await cluster.kubectl(['-n', NAMESPACE, 'wait', ...pods]);
    for (let attempt = 1; ; attempt++) {
      const group = await take(name);
      if (group.status?.stage === 'Committed' || attempt === 10) {
        expect(group.status?.stage, group.status?.conditions?.[0]?.message ?? '').toBe('Committed');
        return group;
      }
      await remove(name);
    }
  }

  /** The numbers in the members, of a, b and c. */
  async function numbersIn({ metadata: { name }, status }: AoESnapshotGroup): Promise<number[]> {
    await cluster.poll(async () => ((await cluster.getJson('aoesnapshotgroup', name)).status.phase === 'Ready' ? true : undefined), {
      timeoutMs: 60_000,
      what: `group ${name} to be Ready`,
      explain: explain(name),
    });
    return await Promise.all(
      NAMES.map(async (volume) => {
        const member = status?.members?.find(({ volumeName }) => volumeName === volumeOf(volume));
        const { metadata, status: state } = await cluster.getJson('aoesnapshot', member?.name ?? '');
        expect([state.phase, state.createdAt]).toStrictEqual(['Ready', status?.createdAt]);
        const device = `vg0/aoe-snap-${metadata.uid}`;
        const read = `lvchange -q -ay -K ${device} && dd if=/dev/${device} bs=4096 count=1 iflag=direct status=none | head -c 16; lvchange -q -an ${device}`;
        return Number.parseInt(await cluster.guest(VOLUMES[volume]).exec(read), 10);
      }),
    );
  }

  /** Names of the snapshots on the storage nodes. */
  async function data(): Promise<string[]> {
    const lists = await Promise.all(
      [...new Set(Object.values(VOLUMES))].map((node) => cluster.guest(node).exec('lvs --noheadings -o lv_name vg0')),
    );
    return lists.flatMap((list) => list.split(/\s+/).filter((name) => name.startsWith('aoe-snap-'))).toSorted();
  }

  /** Deletes a group, and checks that nothing of it is left on any node. */
  async function remove(name: string): Promise<void> {
    await cluster.kubectl(['delete', 'aoesnapshotgroup', name, '--timeout=90s']);
    expect(await cluster.kubectl(['get', 'aoesnapshots', '-o', 'name'])).not.toContain(`/${name}-`);
    expect(await data()).toStrictEqual(before);
  }

  async function kill(part: keyof typeof KILLED): Promise<void> {
    const nodes = part === 'controller' ? cluster.nodes : ['storage-1'];
    await Promise.all(nodes.map((node) => cluster.guest(node).exec(`pkill -KILL -f '${KILLED[part]}' || true`)));
  }

  it(`are at one instant, or do not exist, whoever is killed meanwhile: ${GROUPS} of them`, async () => {
    const parts = Object.keys(KILLED) as (keyof typeof KILLED)[];
    const told: string[] = [];
    let usualMs = 2_000;
    let committed = 0;
    for (let round = 0; round < GROUPS; round++) {
      const name = `e2e-group-${round}`;
      const part = round % 4 === 0 ? undefined : parts[(round % 4) - 1];
      // Swept over the time that a group takes.
      const killing = part && delay((usualMs * ((round * 3) % 8)) / 8).then(() => kill(part));
      const started = Date.now();
      const group = part ? await take(name) : await takeUndisturbed(name);
      if (!part) usualMs = Date.now() - started;
      await killing;
      const { status } = group;
      let outcome = status?.conditions?.[0]?.message ?? '';
      if (status?.stage === 'Committed') {
        committed++;
        const [a = 0, b = 0, c = 0] = await numbersIn(group);
        outcome = `${a} ${b} ${c}`;
        expect(a >= b && b >= c && c >= a - 1 && c > 0, outcome).toBe(true);
      }
      told.push(`${name}: ${part ?? 'nothing'} killed, ${status?.stage}: ${outcome}`);
      await remove(name);
      await goesOn();
    }
    console.log([...told, `${committed} of ${GROUPS} committed; an undisturbed one takes ${usualMs} ms`].join('\n'));
  });

  it('are refused as a whole, and name the member, when one volume cannot be part of it', async () => {
    await cluster.apply([aoeSnapshotGroup('e2e-group-none', [volumeOf('a'), 'nothing'])]);
    const { status }: AoESnapshotGroup = await cluster.poll(
      async () => {
        const group: AoESnapshotGroup = await cluster.getJson('aoesnapshotgroup', 'e2e-group-none');
        return group.status?.phase === 'Failed' ? group : undefined;
      },
      { timeoutMs: 30_000, what: 'the group to fail', explain: explain('e2e-group-none') },
    );
    expect(status?.conditions?.[0]).toMatchObject({
      reason: 'VolumeNotFound',
      message: expect.stringMatching(/AoEVolume nothing does not exist/),
    });
    await remove('e2e-group-none');
  });
});
