import { setTimeout as delay } from 'node:timers/promises';
import type { AoENode } from '../../api/node.ts';
import { AOE_NODES, AOE_VOLUMES } from '../../api/resources.ts';
import { EVENTS, LEASES } from '../../kube/client/types.ts';
import { EventRecorder, isConflict, Kube, KubeError, type KubeObject, LeaseElector, LeaseLostError } from '../../kube/mod.ts';
import { TcpProxy } from '../../kube/testing/tcp-proxy.ts';
import { volume } from './objects.ts';
import { type ApiServer, serveTests, unavailable } from './server.ts';

interface Event extends KubeObject {
  regarding: { kind: string; name: string; uid: string };
  reason: string;
  note: string;
  type: string;
  series?: { count: number };
}

describe.skipIf(unavailable)('the client on a real API server', () => {
  let server: ApiServer;
  let kube: Kube;

  serveTests((started) => {
    ({ server, kube } = started);
  });

  describe('server-side apply', () => {
    const apply = (fieldManager: string, status: object, force = false) =>
      kube.apply<AoENode>(AOE_NODES, { metadata: { name: 'ssa' }, status }, { fieldManager, subresource: 'status', force });
    const nic = (name: string, mtu = 1500) => ({ name, mac: '02:00:00:00:00:01', mtu });

    beforeAll(() => kube.apply(AOE_NODES, { metadata: { name: 'ssa' }, spec: {} }, { fieldManager: 'a' }));

    it('lets two writers own entries of one list, and each remove only its own', async () => {
      await apply('a', { interfaces: [nic('eth0')], segment: 's' });
      const both = await apply('b', { interfaces: [nic('aoe-local')] });
      expect(both.status?.interfaces?.map(({ name }) => name).sort()).toStrictEqual(['aoe-local', 'eth0']);
      const left = await apply('a', { segment: 's' });
      expect(left.status?.interfaces?.map(({ name }) => name)).toStrictEqual(['aoe-local']);
    });

    it("refuses another's field, and takes it over when forced", async () => {
      await apply('a', { segment: 'mine' });
      await expect(apply('b', { segment: 'yours' })).rejects.toSatisfy(
        (error) => error instanceof KubeError && isConflict(error) && /conflict.*"a"/.test(error.message),
      );
      expect((await apply('b', { segment: 'yours' }, true)).status?.segment).toBe('yours');
    });

    it('to the status of what is not there is a 404', async () => {
      const object = { metadata: { name: 'nobody' }, status: {} };
      await expect(kube.apply(AOE_NODES, object, { fieldManager: 'a', subresource: 'status' })).rejects.toMatchObject({
        code: 404,
        reason: 'NotFound',
      });
    });

    // What callers must know: only the version protects a status from being written into a namesake.
    it('to the status does not look at the uid, but at the version', async () => {
      const write = (metadata: object) =>
        kube.apply<AoENode>(
          AOE_NODES,
          { metadata: { name: 'ssa', ...metadata }, status: { targets: 1 } },
          { fieldManager: 'a', subresource: 'status' },
        );
      const uid = '00000000-0000-0000-0000-000000000000';
      const written = await write({ uid });
      expect(written.metadata.uid).not.toBe(uid);
      await kube.patch(AOE_NODES, 'ssa', { metadata: { labels: { changed: 'yes' } } });
      await expect(write({ resourceVersion: written.metadata.resourceVersion })).rejects.toSatisfy(isConflict);
    });

    it('to the status does not change the specification, and the other way round', async () => {
      const object = { metadata: { name: 'ssa' }, spec: { maintenance: true }, status: { targets: 3 } };
      const after = await kube.apply<AoENode>(AOE_NODES, object, { fieldManager: 'c', subresource: 'status', force: true });
      expect(after.spec.maintenance).toBe(false);
      expect(after.status?.targets).toBe(3);
    });
  });

  describe('optimistic locking', () => {
    it('of two patches on one version the second is a conflict', async () => {
      const { metadata } = await kube.create(AOE_VOLUMES, volume('locked'));
      const patch = (node: string) =>
        kube.patch(AOE_VOLUMES, 'locked', {
          metadata: { resourceVersion: metadata.resourceVersion },
          spec: { initiators: { nodes: [node] } },
        });
      const results = await Promise.allSettled([patch('n1'), patch('n2')]);
      expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      const [failure] = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
      expect(isConflict(failure)).toBe(true);
    });

    it('deleting by uid spares a namesake, and what is gone is no error', async () => {
      const { metadata } = await kube.create(AOE_VOLUMES, volume('namesake'));
      await kube.delete(AOE_VOLUMES, 'namesake', { uid: metadata.uid });
      await kube.create(AOE_VOLUMES, volume('namesake'));
      await expect(kube.delete(AOE_VOLUMES, 'namesake', { uid: metadata.uid })).rejects.toSatisfy(isConflict);
      await kube.delete(AOE_VOLUMES, 'namesake');
      await kube.delete(AOE_VOLUMES, 'namesake');
    });

    it('a second object of a name is a conflict, a wrong one is 422 with the reason', async () => {
      await kube.create(AOE_VOLUMES, volume('twice'));
      await expect(kube.create(AOE_VOLUMES, volume('twice'))).rejects.toMatchObject({ code: 409, reason: 'AlreadyExists' });
      await expect(kube.create(AOE_VOLUMES, volume('wrong', { capacity: '0' }))).rejects.toMatchObject({
        code: 422,
        message: expect.stringMatching(/greater than 0/),
      });
    });
  });

  it('lists metadata alone', async () => {
    const { metadata } = await kube.create(AOE_VOLUMES, volume('meta'));
    const listed = (await kube.listMetadata(AOE_VOLUMES)).find((each) => each.metadata.name === 'meta');
    expect(listed).toMatchObject({ kind: 'AoEVolume', metadata: { uid: metadata.uid } });
    expect(listed).not.toHaveProperty('spec');
    expect(listed?.metadata).not.toHaveProperty('managedFields');
  });

  describe('events', () => {
    it('are seen with their object; a repetition is counted, not written again', async () => {
      const object = await kube.create(AOE_VOLUMES, volume('eventful'));
      const recorder = new EventRecorder(kube, { controller: 'aoe.dev/aoe-csi-agent', node: 'n1' });
      for (let i = 0; i < 5; i++) recorder.event(object, 'Warning', 'AddressConflict', 'somebody else answers');
      recorder.event(object, 'Normal', 'Exported', 'x'.repeat(5_000));
      await recorder.flush();
      const { items } = await kube.list<Event>(EVENTS, { namespace: 'default', fieldSelector: 'regarding.name=eventful' });
      const [conflict, exported] = items.sort((a, b) => (a.reason < b.reason ? -1 : 1));
      expect(items).toHaveLength(2);
      expect(conflict?.regarding.uid).toStrictEqual(object.metadata.uid);
      expect(conflict?.type).toBe('Warning');
      expect(conflict?.series?.count ?? 0).toBeGreaterThanOrEqual(2);
      expect(exported?.note.length ?? 0).toBeGreaterThan(1000);
      expect(exported?.note.endsWith('…')).toBeTruthy();
    });

    it('that cannot be written harm nobody', async () => {
      const recorder = new EventRecorder(Kube.fromUrl('http://127.0.0.1:9'), { controller: 'aoe.dev/x' });
      recorder.event(volume('a'), 'Normal', 'Fine', 'fine');
      await recorder.flush();
    });
  });

  describe('leader election', () => {
    const short = { leaseDurationMs: 3_000, renewDeadlineMs: 2_000 };
    /** It outlasts a machine that stands still for some seconds. */
    const long = { leaseDurationMs: 30_000, renewDeadlineMs: 20_000 };
    const until = (signal: AbortSignal): Promise<void> =>
      new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));

    /** A candidate behind its own wire. */
    async function candidate(name: string, identity: string, times = short) {
      const { proxy, kubeconfig } = await TcpProxy.before(server.kubeconfig);
      const own = Kube.fromKubeconfig(kubeconfig);
      const stop = new AbortController();
      const leading = Promise.withResolvers<void>();
      const state = { proxy, stop, leads: leading.promise, isLeading: false, error: undefined as unknown, ended: Promise.resolve() };
      state.ended = new LeaseElector(own, { ...times, namespace: 'default', retryPeriodMs: 300, name, identity })
        .run(stop.signal, async (signal) => {
          state.isLeading = true;
          leading.resolve();
          await until(signal);
          state.isLeading = false;
        })
        .catch((error: unknown) => {
          state.error = error;
        })
        .then(async () => {
          own.close();
          await proxy[Symbol.asyncDispose]();
        });
      return state;
    }

    it('gives the lead to one, and at a clean stop to the other at once', async () => {
      const a = await candidate('clean', 'a', long);
      await a.leads;
      const b = await candidate('clean', 'b', long);
      await delay(1_000);
      expect(a.isLeading).toBe(true);
      expect(b.isLeading).toBe(false);
      const started = performance.now();
      a.stop.abort();
      await b.leads;
      const ms = performance.now() - started;
      console.log(`handed over in ${ms.toFixed(0)} ms`);
      expect(ms).toBeLessThan(long.leaseDurationMs / 2);
      await a.ended;
      expect(a.error).toBeUndefined();
      b.stop.abort();
      await b.ended;
      const lease = await kube.get<KubeObject & { spec: { holderIdentity?: string } }>(LEASES, 'clean', { namespace: 'default' });
      expect(lease?.spec.holderIdentity).toBeFalsy();
    });

    for (const how of ['silent', 'refusing'] as const) {
      it(`a leader with a connection to the server that is ${how} stops before another takes over`, async () => {
        const a = await candidate(how, 'a');
        await a.leads;
        const b = await candidate(how, 'b');
        await delay(700);
        const started = performance.now();
        a.proxy[how] = true;
        let together = false;
        const look = setInterval(() => {
          together ||= a.isLeading && b.isLeading;
        }, 5);
        await Promise.all([a.ended, b.leads]);
        clearInterval(look);
        console.log(`took over after ${((performance.now() - started) / 1000).toFixed(1)} s`);
        expect(together).toBe(false);
        expect(a.error, String(a.error)).toBeInstanceOf(LeaseLostError);
        b.stop.abort();
        await b.ended;
      });
    }

    it('one hung connection does not cost the lead', async () => {
      const a = await candidate('hung', 'a', { leaseDurationMs: 18_000, renewDeadlineMs: 12_000 });
      await a.leads;
      a.proxy.freeze();
      await delay(18_000);
      expect(a.isLeading).toBe(true);
      a.stop.abort();
      await a.ended;
      expect(a.error).toBeUndefined();
    });
  });
});
