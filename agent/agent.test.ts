import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { register } from 'prom-client';
import { localMac } from '../api/local-link.ts';
import { AOE_NODES, AOE_POOLS, AOE_VOLUMES, NODES } from '../api/resources.ts';
import { type AoEVolume, VOLUME_FINALIZER } from '../api/volume.ts';
import type { KubeObject } from '../kube/mod.ts';
import { FakeApi } from '../kube/testing/fake-api.ts';
import { type AgentOptions, runAgent } from './agent.ts';
import { Subscribers } from './subscribers.ts';
import { FakeCopier } from './testing/fake-copier.ts';
import { FakeTarget } from './testing/fake-target.ts';

const VETH = { mtu: 9000, flags: ['UP'], linkinfo: { info_kind: 'veth' } };
const LINKS = JSON.stringify([
  { ifname: 'aoe-target', ...VETH },
  { ifname: 'aoe-local', ...VETH, address: localMac('n') },
]);

/** An API server that can be watched: after each write, every object of the kinds that are watched is shown. */
class WatchedApi extends FakeApi {
  readonly log = pino({ level: 'silent' });
  readonly #writes = new Subscribers<void>();

  constructor() {
    super();
    for (const name of ['apply', 'patch', 'create'] as const) {
      const call = this[name] as (...args: unknown[]) => Promise<unknown>;
      Object.assign(this, { [name]: (...args: unknown[]) => call(...args).finally(() => this.#writes.emit()) });
    }
  }

  override put<T extends KubeObject & { kind: string }>(object: T): T {
    const stored = super.put(object);
    this.#writes.emit();
    return stored;
  }

  async *watch({ kind }: { kind: string }, { signal, fieldSelector }: { signal: AbortSignal; fieldSelector?: string }) {
    const [, node] = /^spec\.nodeName=(.*)$/.exec(fieldSelector ?? '') ?? [];
    const selects = (object: KubeObject): boolean =>
      node === undefined || (object as KubeObject & { spec: { nodeName?: string } }).spec.nodeName === node;
    let wake = (): void => {};
    const end = this.#writes.add(() => wake());
    signal.addEventListener('abort', () => wake());
    try {
      while (!signal.aborted) {
        for (const object of this.all(kind)) yield { type: selects(object) ? 'MODIFIED' : 'DELETED', object };
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    } finally {
      end();
    }
  }

  /** Fulfilled when the condition holds, which is checked after each write. */
  until(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const end = this.#writes.add(() => check());
      const check = (): void => {
        if (!condition()) return;
        end();
        resolve();
      };
      check();
    });
  }
}

function optionsOf(kube: WatchedApi, options: Partial<AgentOptions> = {}): AgentOptions {
  return {
    node: 'n',
    selection: ['no-such-interface'],
    mountPoints: [],
    kube: kube as never,
    targetApi: new FakeTarget(),
    copier: new FakeCopier(),
    copySpeed: 0,
    copySpeedInUse: 0,
    run: async () => ({ stdout: LINKS, stderr: '' }),
    watched: () => {},
    ready: () => {},
    log: kube.log,
    ...options,
  };
}

// A program has one agent, which registers its metrics once.
afterEach(() => register.clear());

test('the parts of the agent are connected: pools, volumes and the node are reconciled, and reconciled again after what concerns them', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'aoe-agent-'));
  const kube = new WatchedApi();
  const node = (labels: Record<string, string>) => kube.put({ kind: 'Node', metadata: { name: 'n', labels } });
  node({ disk: 'ssd' });
  const spec = { backend: 'file', directory: join(directory, 'pool'), nodeSelector: { disk: 'ssd' } };
  // While this node was gone, a volume was given up that its target still serves.
  const status = { abandoned: [{ uid: 'u-0', volume: 'v0', node: 'n' }] };
  kube.put({ kind: 'AoEPool', metadata: { name: 'fast' }, spec, status } as never);
  const targetApi = new FakeTarget();
  const copier = new FakeCopier();
  const serve = (uid: string, slot: number) =>
    targetApi.export({ uid, shelf: 9, slot, path: '/gone', serial: 's', readOnly: false, bytes: 0, macs: [], writesNeedLock: false });
  await serve('u-0', 9);
  const unexport = targetApi.unexport.bind(targetApi);
  const withdrawal = () =>
    new Promise((resolve) => {
      targetApi.unexport = async (uid) => {
        await unexport(uid);
        resolve(uid);
      };
    });
  const withdrawn = withdrawal();
  const ready = Promise.withResolvers<void>();
  const stop = new AbortController();
  const running = runAgent(optionsOf(kube, { targetApi, copier, copySpeedInUse: 5, ready: ready.resolve }), stop.signal);
  onTestFinished(async () => {
    stop.abort();
    await running;
    await rm(directory, { recursive: true, force: true });
  });
  await ready.promise;
  expect(await withdrawn).toBe('u-0');
  // No copy begins without the limit for when volumes are in use.
  await kube.until(() => copier.limit === 5);

  const entry = () =>
    kube.read<KubeObject & { status?: { nodes?: { ready: boolean; volumes: number }[] } }>(AOE_POOLS, 'fast')?.status?.nodes?.[0];
  const nodeCondition = () => kube.read<AoEVolume>(AOE_NODES, 'n')?.status?.conditions?.[0];
  const condition = (type: string) => kube.read<AoEVolume>(AOE_VOLUMES, 'v1')?.status?.conditions?.find((each) => each.type === type);
  await kube.until(() => entry()?.ready === true && nodeCondition()?.status === 'True');

  // A volume is made, its address cannot be probed without an interface, and its pool is measured again.
  kube.put({
    kind: 'AoEVolume',
    metadata: { name: 'v1', uid: 'u-1', finalizers: [VOLUME_FINALIZER] },
    spec: { pool: 'fast', capacity: '1Mi', access: 'Exclusive', nodeName: 'n', address: { shelf: 1, slot: 1 }, initiators: {} },
  } as never);
  await kube.until(() => condition('Provisioned')?.status === 'True' && condition('Exported')?.reason === 'SegmentNotAsked');
  await kube.until(() => entry()?.volumes === 1);

  // A served volume is moved to another node: it is taken off the segment at once.
  const moved = withdrawal();
  const metadata = { name: 'v2', uid: 'u-2', finalizers: [VOLUME_FINALIZER] };
  const place = { capacity: '1Mi', access: 'Exclusive', nodeName: 'n', address: { shelf: 9, slot: 8 }, initiators: {} };
  kube.put({ kind: 'AoEVolume', metadata, spec: { ...place, pool: 'elsewhere' } } as never);
  await kube.until(() => kube.read<AoEVolume>(AOE_VOLUMES, 'v2')?.status?.conditions !== undefined);
  await serve('u-2', 8);
  kube.put({
    kind: 'AoEVolume',
    metadata,
    spec: { ...place, pool: 'elsewhere', nodeName: 'other', moves: 1, address: { shelf: 9, slot: 7 } },
  } as never);
  expect(await moved).toBe('u-2');

  // The target goes away: the volume and the node say so.
  targetApi.stop();
  await kube.until(() => condition('Exported')?.reason === 'TargetUnavailable' && nodeCondition()?.reason === 'NotAnswering');

  // The node loses the label that its pool selects.
  node({});
  await kube.until(() => entry() === undefined);
  expect(kube.read(NODES, 'n')).toBeDefined();
});

test('an agent that is told to end before the API server has answered it ends', async () => {
  const kube = new WatchedApi();
  const stop = new AbortController();
  const asked = Promise.withResolvers<void>();
  const list = (_type: unknown, { signal }: { signal: AbortSignal }): Promise<never> => {
    asked.resolve();
    return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }));
  };
  Object.assign(kube, { list });
  let isReady = false;
  const running = runAgent(optionsOf(kube, { ready: () => (isReady = true) }), stop.signal);
  await asked.promise;
  stop.abort();
  await running;
  expect(isReady).toBe(false);
});
