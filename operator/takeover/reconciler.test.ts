import type { AoENode } from '../../api/node.ts';
import { AOE_VOLUMES, VOLUME_ATTACHMENTS } from '../../api/resources.ts';
import { TAKEN_FROM } from '../../api/volume.ts';
import { claim, SilentNode } from '../testing/silent-node.ts';

describe('a silent node', () => {
  it('loses its volumes: node cut off, pod and attachment deleted, and nothing left over', async () => {
    const it = new SilentNode();
    it.volume('v');
    it.pod('p', [claim('v'), { name: 'tmp', emptyDir: {} }]);
    it.ready('w1', false);
    await it.run();
    expect(it.initiators('v')).toStrictEqual([]);
    expect(it.deleted).toStrictEqual([['p', 0]]);
    expect(it.left()).toStrictEqual([]);
    expect(it.api.read<AoENode>({ kind: 'AoENode' }, 'w1')?.status?.suspicion).toBeUndefined();
    expect(it.api.events.map(({ reason }) => reason)).toStrictEqual(['TakenOver']);
    expect(it.api.events[0]?.message).toMatch(
      /^taken from node w1: node w1 has not been Ready since .*, and no target that answers has heard it for 6\d s$/,
    );
  });

  it('keeps them when a target hears it after all, within 10 s of the first verdict', async () => {
    const it = new SilentNode();
    it.volume('v');
    it.pod('p', [claim('v')]);
    it.ready('w1', false);
    const questions = new Set<string>();
    const step = async (): Promise<void> => {
      it.now += Math.min((await it.reconcile()) ?? 1_000, 1_000);
      const question = it.api.read<AoENode>({ kind: 'AoENode' }, 'w1')?.status?.suspicion?.question;
      // Each question is answered once.
      if (question !== undefined && !questions.has(question)) it.answer('s1', 's2');
      if (question !== undefined) questions.add(question);
    };
    // The first question comes after 10 s, and its answers say that the node is silent.
    for (let passes = 0; passes < 18; passes++) await step();
    expect([questions.size, it.initiators('v')]).toStrictEqual([1, ['w1']]);
    it.silentSeconds.s2 = 2;
    for (let passes = 0; passes < 20; passes++) await step();
    expect([questions.size, it.initiators('v')]).toStrictEqual([2, ['w1']]);
    // It begins again: one verdict is not enough then either.
    it.silentSeconds.s2 = 60;
    while (questions.size < 4) await step();
    expect(it.initiators('v')).toStrictEqual(['w1']);
    for (let passes = 0; passes < 3; passes++) await step();
    expect(it.initiators('v')).toStrictEqual([]);
  });

  it('keeps them while one target hears it, or while its own target does not answer', async () => {
    for (const change of ['heard', 'no answer'] as const) {
      const it = new SilentNode();
      it.volume('v');
      it.pod('p', [claim('v')]);
      it.ready('w1', false);
      if (change === 'heard') it.silentSeconds.s2 = 3;
      await it.run(change === 'heard' ? {} : { storages: ['s2'] });
      expect(it.initiators('v')).toStrictEqual(['w1']);
      expect(it.left()).toStrictEqual(['p', 'v-w1']);
    }
  });

  it('keeps them when it is Ready by the time, whatever the watch has shown', async () => {
    const it = new SilentNode();
    it.volume('v');
    it.pod('p', [claim('v')]);
    it.ready('w1', false);
    it.api.put({ kind: 'Node', metadata: { name: 'w1' }, status: { conditions: [{ type: 'Ready', status: 'True' }] } } as never);
    await it.run();
    expect(it.initiators('v')).toStrictEqual(['w1']);
  });

  it('loses a pod also when the data of one of its volumes is missing, so that nobody can confirm that it is refused there', async () => {
    const it = new SilentNode();
    it.volume('v');
    it.volume('w', 's2');
    it.missing.add('w');
    it.pod('p', [claim('v'), claim('w')]);
    it.ready('w1', false);
    await it.run();
    expect(it.deleted).toStrictEqual([['p', 0]]);
    expect(it.left()).toStrictEqual([]);
  });

  it('keeps them after one verdict when it was Ready in between, however shortly', async () => {
    const it = new SilentNode();
    it.volume('v');
    it.pod('p', [claim('v')]);
    it.ready('w1', false);
    const question = () => it.api.read<AoENode>({ kind: 'AoENode' }, 'w1')?.status?.suspicion?.question;
    const step = async () => {
      it.now += Math.min((await it.reconcile()) ?? 1_000, 1_000);
    };
    const verdict = async (after?: string) => {
      while (question() === undefined || question() === after) await step();
      it.answer('s1', 's2');
      await step();
      return question();
    };
    const first = await verdict();
    it.ready('w1', true);
    it.ready('w1', false);
    await verdict(first);
    expect(it.initiators('v')).toStrictEqual(['w1']);
    await verdict(question());
    expect(it.initiators('v')).toStrictEqual([]);
  });

  it('keeps them when many are not Ready, and the operator says so', async () => {
    const it = new SilentNode();
    it.volume('v');
    it.ready('w1', false);
    it.ready('w2', false);
    await it.run();
    expect(it.initiators('v')).toStrictEqual(['w1']);
    expect(it.held).toBe('TooManySilent');
    expect(it.api.events[0]).toMatchObject({ reason: 'TakeoverHeld', message: expect.stringMatching(/2 of 4 nodes are not Ready/) });
  });

  it('keeps pods that also use something else, and their volumes', async () => {
    const it = new SilentNode();
    for (const name of ['a', 'b', 'c', 'd', 'f', 'g']) it.volume(name);
    it.volume('shared', 's1', { access: 'Shared' });
    it.volume('external', 's1', { external: { shelf: 1, slot: 1 } });
    it.pod('with-nfs', [claim('a'), { name: 'n', nfs: {} }]);
    it.pod('with-shared', [claim('b'), claim('shared')]);
    it.pod('with-external', [claim('c'), claim('external')]);
    it.pod('daemon', [claim('d')], { ownerReferences: [{ kind: 'DaemonSet', name: 'ds' }] });
    it.pod('bare', [claim('f')], { ownerReferences: undefined });
    it.pod('owned, not controlled', [claim('g')], { ownerReferences: [{ kind: 'ConfigMap', name: 'c' }] });
    it.volume('e');
    it.pod('good', [claim('e'), { name: 'cm', configMap: {} }]);
    it.pod('without', [{ name: 'h', hostPath: {} }]);
    it.ready('w1', false);
    await it.run();
    expect(it.deleted).toStrictEqual([['good', 0]]);
    const kept = ['a', 'b', 'c', 'd', 'f', 'g', 'shared', 'external'];
    expect(kept.map((name) => it.initiators(name))).toStrictEqual(Array(8).fill(['w1']));
    const skipped = it.api.events.filter(({ reason }) => reason === 'TakeoverSkipped').map(({ message }) => message);
    expect(skipped.join('\n')).toMatch(
      /volume n \(nfs\)(?:.|\n)*claim claim-shared, whose AoEVolume shared is not Exclusive(?:.|\n)*DaemonSet ds would make it again(?:.|\n)*nobody would make it again/,
    );
  });

  it('loses a pod whose volumes have different times when the longest of them is over', async () => {
    const it = new SilentNode();
    it.volume('v');
    it.volume('w', 's2', { takeoverAfter: '300s' });
    it.volume('x', 's1', { takeoverAfter: '20s' });
    it.volume('y', 's1', { takeoverAfter: '300s' });
    it.pod('p', [claim('v'), claim('w')]);
    it.pod('q', [claim('x')]);
    it.pod('r', [claim('y')]);
    it.ready('w1', false);
    await it.run();
    expect(it.deleted).toStrictEqual([['q', 0]]);
    expect(['v', 'w', 'x', 'y'].map((name) => it.initiators(name))).toStrictEqual([['w1'], ['w1'], [], ['w1']]);
    it.silentSeconds.s1 = 301;
    it.silentSeconds.s2 = 299;
    await it.run();
    expect(it.deleted).toHaveLength(1);
    it.silentSeconds.s2 = 301;
    await it.run();
    expect(it.deleted.map(([name]) => name).sort()).toStrictEqual(['p', 'q', 'r']);
    expect(it.left()).toStrictEqual([]);
    // To wait is no news.
    expect(it.api.events.filter(({ reason }) => reason !== 'TakenOver')).toStrictEqual([]);
  });

  it('has each pod that stays as it is told once why, and again in another outage', async () => {
    const it = new SilentNode();
    it.volume('v');
    it.volume('w');
    it.volume('x', 's1', { takeoverAfter: '300s' });
    it.volume('y', 's1', { takeoverAfter: '300s' });
    it.pod('p', [claim('v'), { name: 'n', nfs: {} }]);
    it.pod('q', [claim('w'), claim('x')]);
    it.pod('r', [claim('x')]);
    it.pod('of which nothing is due', [claim('y'), { name: 'n', nfs: {} }]);
    it.ready('w1', false);
    const skipped = () => it.api.events.filter(({ reason }) => reason === 'TakeoverSkipped').map(({ message }) => message);
    const why = 'node w1 is silent, and this pod stays as it is: it also uses volume n (nfs)';
    for (let runs = 0; runs < 3; runs++) await it.run();
    expect(skipped()).toStrictEqual([why]);
    // Another cause is news.
    it.pod('p', [claim('v'), { name: 'h', hostPath: {} }]);
    await it.run();
    expect(skipped()).toStrictEqual([why, 'node w1 is silent, and this pod stays as it is: it also uses volume h (hostPath)']);
    it.pod('p', [claim('v'), { name: 'n', nfs: {} }]);
    it.ready('w1', true);
    await it.run();
    it.ready('w1', false);
    await it.run();
    expect(skipped().slice(2)).toStrictEqual([why]);
    expect(it.deleted).toStrictEqual([]);
  });

  it('loses a volume only when its time was over at both verdicts', async () => {
    const it = new SilentNode();
    it.volume('v', 's1', { takeoverAfter: '300s' });
    it.volume('w', 's1', { takeoverAfter: '30s' });
    it.pod('p', [claim('v'), claim('w')]);
    it.ready('w1', false);
    // The silence grows as time does: it is less than 300 s at the first verdict, and more at the second.
    const began = it.now - 283_000;
    const silence = (): number => Math.floor((it.now - began) / 1000);
    for (let passes = 0; it.initiators('v').length > 0 && passes < 100; passes++) {
      it.now += (await it.reconcile()) ?? 1_000;
      Object.assign(it.silentSeconds, { s1: silence(), s2: silence() });
      it.answer('s1', 's2');
    }
    expect(it.initiators('v')).toStrictEqual([]);
    // 10 s after a first verdict with 300 s, and without half a minute for nothing before that.
    expect(silence()).toBeGreaterThanOrEqual(310);
    expect(silence()).toBeLessThan(325);
  });

  it('loses a volume only when its own target gave evidence at both verdicts', async () => {
    const it = new SilentNode();
    it.volume('x');
    it.volume('v', 's2');
    it.volume('y');
    it.volume('z', 's2');
    it.pod('p', [claim('x')]);
    it.pod('q', [claim('v')]);
    it.pod('of both', [claim('y'), claim('z')]);
    it.ready('w1', false);
    const asked: string[] = [];
    for (let passes = 0; it.initiators('x').length > 0 && passes < 100; passes++) {
      it.now += Math.min((await it.reconcile()) ?? 1_000, 1_000);
      const question = it.api.read<AoENode>({ kind: 'AoENode' }, 'w1')?.status?.suspicion?.question;
      if (question === undefined || asked.includes(question)) continue;
      asked.push(question);
      // The target on s2 was stopped at first.
      it.answer(...(asked.length === 1 ? ['s1'] : ['s1', 's2']));
    }
    expect(asked).toHaveLength(2);
    const initiators = () => ['x', 'v', 'y', 'z'].map((name) => it.initiators(name).length);
    expect(initiators()).toStrictEqual([0, 1, 1, 1]);
    it.silentSeconds.s2 = 2;
    await it.run();
    expect(initiators()).toStrictEqual([0, 1, 1, 1]);
    it.silentSeconds.s2 = 60;
    await it.run();
    expect(initiators()).toStrictEqual([0, 0, 0, 0]);
    // To wait for a second verdict is no news.
    expect(it.api.events.filter(({ reason }) => reason === 'TakeoverSkipped')).toStrictEqual([]);
  });

  it('keeps a volume that is set to Never just before it is taken, and what hangs together with it', async () => {
    const it = new SilentNode();
    for (const name of ['first', 'never', 'with', 'other']) it.volume(name);
    it.pod('p', [claim('first')]);
    it.pod('q', [claim('never'), claim('with')]);
    it.pod('r', [claim('other')]);
    it.ready('w1', false);
    it.beforeWrite = (name) => {
      if (name !== 'first') return undefined;
      it.beforeWrite = () => undefined;
      return it.api.patch(AOE_VOLUMES, 'never', { spec: { takeoverAfter: 'Never' } });
    };
    await it.untilTaken('first');
    const left = () => ['first', 'never', 'with', 'other'].filter((name) => it.initiators(name).length > 0);
    expect(left(), 'others are taken at once').toStrictEqual(['never', 'with']);
    await it.run();
    expect(left()).toStrictEqual(['never', 'with']);
    expect(it.deleted.map(([name]) => name)).toStrictEqual(['p', 'r']);
  });

  it('keeps a volume that is never taken over, the pods that use it, and their other volumes', async () => {
    const it = new SilentNode();
    it.volume('v');
    it.volume('never', 's1', { takeoverAfter: 'Never' });
    it.pod('p', [claim('v'), claim('never')]);
    it.ready('w1', false);
    for (const name of ['s1', 's2']) it.silentSeconds[name] = 100_000;
    await it.run();
    expect(it.deleted).toStrictEqual([]);
    expect(['v', 'never'].map((name) => it.initiators(name))).toStrictEqual([['w1'], ['w1']]);
    const skipped = it.api.events.filter(({ reason }) => reason === 'TakeoverSkipped').map(({ message }) => message);
    expect(skipped).toStrictEqual([expect.stringMatching(/its AoEVolume never is never taken over: its spec\.takeoverAfter is Never$/)]);
    await it.api.patch(AOE_VOLUMES, 'never', { spec: { takeoverAfter: null } });
    await it.run();
    expect(it.deleted).toStrictEqual([['p', 0]]);
  });

  it('without a time of the cluster loses the volumes that have their own, and is asked about only because of them', async () => {
    const it = new SilentNode({ after: 'Never' });
    it.volume('v');
    it.pod('p', [claim('v')]);
    it.ready('w1', false);
    await it.run();
    expect(it.api.read<AoENode>({ kind: 'AoENode' }, 'w1')?.status?.suspicion).toBeUndefined();
    expect(it.held).toBeUndefined();
    it.volume('own', 's1', { takeoverAfter: '30s' });
    it.pod('q', [claim('own')]);
    await it.run();
    expect(it.deleted).toStrictEqual([['q', 0]]);
    expect(['v', 'own'].map((name) => it.initiators(name))).toStrictEqual([['w1'], []]);
    expect(it.api.read<AoENode>({ kind: 'AoENode' }, 'w1')?.status?.suspicion).toBeUndefined();
  });

  it('without a time of the cluster says that a pod stays because a volume of it has no time either', async () => {
    const it = new SilentNode({ after: 'Never' });
    it.volume('own', 's1', { takeoverAfter: '30s' });
    it.volume('v');
    it.pod('p', [claim('own'), claim('v')]);
    it.ready('w1', false);
    await it.run();
    const skipped = it.api.events.filter(({ reason }) => reason === 'TakeoverSkipped').map(({ message }) => message);
    const why = /its AoEVolume v is never taken over: neither its spec\.takeoverAfter nor takeover\.after of the chart has a time$/;
    expect(skipped).toStrictEqual([expect.stringMatching(why)]);
  });

  it('leaves a volume alone that Kubernetes did not attach there', async () => {
    const it = new SilentNode();
    it.volume('by-hand');
    it.api.remove(VOLUME_ATTACHMENTS, 'by-hand-w1');
    it.ready('w1', false);
    await it.run();
    expect(it.initiators('by-hand')).toStrictEqual(['w1']);
  });

  it('that comes back after it was cut off loses its pod in the usual way, and a new pod there stays', async () => {
    const it = new SilentNode();
    it.volume('v');
    it.pod('p', [claim('v')]);
    it.ready('w1', false);
    await it.untilTaken('v');
    it.ready('w1', true);
    it.enforce();
    await it.reconcile();
    expect(it.deleted).toStrictEqual([['p', undefined]]);
    it.pod('p', [claim('v')], { uid: 'the next one' });
    await it.run();
    expect(it.deleted).toHaveLength(1);
    expect(it.left()).toStrictEqual(['p']);
  });

  it('keeps pods that a note names although they do not use its volume, or would be made again', async () => {
    const it = new SilentNode();
    it.volume('v');
    it.volume('w');
    it.pod('without', [{ name: 'n', nfs: {} }]);
    it.pod('of another', [claim('w')]);
    it.pod('daemon', [claim('v')], { ownerReferences: [{ kind: 'DaemonSet', name: 'ds' }] });
    const pods = ['without', 'of another', 'daemon'].map((name) => `uid-${name}`);
    const annotations = { [TAKEN_FROM]: JSON.stringify({ node: 'w1', pods, attachments: ['va-v'] }) };
    await it.api.patch(AOE_VOLUMES, 'v', { metadata: { annotations }, spec: { initiators: { nodes: null } } });
    await it.run();
    expect(it.deleted).toStrictEqual([]);
    expect(it.left()).toStrictEqual(['without', 'of another', 'daemon', 'w-w1']);
  });

  it('whose takeover does not end is asked about less often, and an Event says once what is waited for', async () => {
    const it = new SilentNode();
    it.volume('v');
    it.pod('p', [claim('v')]);
    it.ready('w1', false);
    const goOn = async (ms: number): Promise<number> => {
      let passes = 0;
      for (const end = it.now + ms; it.now < end; passes++) it.now += (await it.reconcile()) ?? 1_000;
      return passes;
    };
    await it.untilTaken('v');
    const told = () => it.api.events.filter(({ reason }) => reason === 'TakeoverNotEnded').map(({ message }) => message);
    expect(await goOn(60_000)).toBeGreaterThan(55);
    expect(await goOn(230_000)).toBeLessThan(20);
    expect(told()).toStrictEqual([]);
    await goOn(600_000);
    expect(told()).toStrictEqual([expect.stringMatching(/^the takeover .* waits for .*: the target of AoEVolume v on node s1 to confirm/)]);
    // Each step has its own time.
    it.enforce();
    expect(await goOn(10_000)).toBeGreaterThan(8);
    await goOn(310_000);
    expect(told().slice(1)).toStrictEqual([expect.stringMatching(/: csi-attacher to detach VolumeAttachment v-w1$/)]);
    it.detach();
    await it.run();
    expect(it.left()).toStrictEqual([]);
  });

  it('that csi-attacher admits once more meanwhile is cut off again', async () => {
    const it = new SilentNode();
    it.volume('v');
    it.pod('p', [claim('v')]);
    it.ready('w1', false);
    await it.untilTaken('v');
    await it.api.patch(AOE_VOLUMES, 'v', { spec: { initiators: { nodes: ['w1'] } } });
    it.enforce();
    await it.run();
    expect(it.initiators('v')).toStrictEqual([]);
    expect(it.left()).toStrictEqual([]);
  });
});
