import fc from 'fast-check';
import { AOE_VOLUMES, PODS, VOLUME_ATTACHMENTS } from '../../api/resources.ts';
import { type AoEVolume, TAKEN_FROM, takenFrom } from '../../api/volume.ts';
import { KubeError } from '../../kube/mod.ts';
import { claim, SilentNode } from '../testing/silent-node.ts';

/** One event of a history in which anything may fail. */
const event = fc.oneof(
  { weight: 20, arbitrary: fc.constant('reconcile' as const) },
  { weight: 6, arbitrary: fc.constant('answer' as const) },
  { weight: 4, arbitrary: fc.constantFrom('enforce' as const, 'detach' as const) },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      'restart' as const,
      'fail patch' as const,
      'lose patch' as const,
      'fail delete' as const,
      'lose delete' as const,
    ),
  },
  { weight: 1, arbitrary: fc.constantFrom('back' as const, 'silent' as const, 'republish' as const, 'other host' as const) },
);

test('whatever fails: pods go only when the target refuses the node, attachments after them, and no second node is admitted before', async () => {
  let ended = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(event, { minLength: 60, maxLength: 120 }), async (events) => {
      const it = new SilentNode();
      it.volume('v');
      it.volume('w', 's2');
      it.pod('p', [claim('v'), claim('w')]);
      it.pod('q', [claim('w')]);
      it.ready('w1', false);
      const uses: Record<string, string[]> = { p: ['v', 'w'], q: ['w'] };
      const isRefused = (name: string): boolean => {
        const { metadata, spec, status } = it.api.read<AoEVolume>(AOE_VOLUMES, name) as AoEVolume;
        const { observedGeneration = -1, nodes = [] } = status?.initiators ?? {};
        return !spec.initiators.nodes?.includes('w1') && observedGeneration >= (metadata.generation ?? 0) && !nodes.includes('w1');
      };
      it.check = (kind, name) => {
        const volumes = kind === 'Pod' ? (uses[name] ?? []) : [name.replace(/-w1$/, '')];
        // With the node back, a volume that was not taken stays with it.
        const taken = volumes.filter((each) => it.api.read<AoEVolume>(AOE_VOLUMES, each)?.metadata.annotations?.[TAKEN_FROM] !== undefined);
        expect(taken.length, `${kind} ${name} is deleted for a takeover`).toBeGreaterThan(0);
        for (const volume of taken) expect([kind, name, volume, isRefused(volume)]).toStrictEqual([kind, name, volume, true]);
        if (kind !== 'VolumeAttachment') return;
        const users = Object.keys(uses).filter((pod) => uses[pod]?.some((each) => volumes.includes(each)));
        expect(users.filter((pod) => it.api.read(PODS, pod))).toStrictEqual([]);
      };
      for (const each of events) {
        if (each === 'reconcile') it.now += (await it.reconcile().catch(() => 500)) ?? 1_000;
        if (each === 'answer') it.answer('s1', 's2');
        if (each === 'enforce') it.enforce();
        if (each === 'detach') it.detach();
        if (each === 'restart') it.restart();
        const error = new KubeError(500, 'Internal', 'a test');
        if (each === 'fail patch' || each === 'lose patch') it.api.failNext('patch', error, { hasEffect: each === 'lose patch' });
        if (each === 'fail delete' || each === 'lose delete') it.api.failNext('delete', error, { hasEffect: each === 'lose delete' });
        if (each === 'back' || each === 'silent') it.ready('w1', each === 'back');
        // ControllerPublishVolume: an Exclusive volume is for one node.
        if (each === 'republish' || each === 'other host') {
          const node = each === 'republish' ? 'w1' : 'w2';
          const wanted = each === 'republish' ? it.api.read(VOLUME_ATTACHMENTS, 'v-w1') : !it.api.read(VOLUME_ATTACHMENTS, 'v-w1');
          if (wanted && it.initiators('v').length === 0)
            await it.api.patch(AOE_VOLUMES, 'v', { spec: { initiators: { nodes: [node] } } }).catch(() => {});
        }
        const { spec, status } = it.api.read<AoEVolume>(AOE_VOLUMES, 'v') as AoEVolume;
        expect(spec.initiators.nodes?.length ?? 0).toBeLessThanOrEqual(1);
        expect(status?.initiators?.nodes?.length ?? 0).toBeLessThanOrEqual(1);
      }
      // What was begun ends, also under the next leader.
      it.restart();
      const unfinished = () => it.api.all<AoEVolume>('AoEVolume').filter((each) => takenFrom(each));
      for (let passes = 0; passes < 100 && unfinished().length > 0; passes++) await it.run().catch(() => {});
      expect(unfinished()).toStrictEqual([]);
      if (it.deleted.length > 0) ended++;
    }),
    { numRuns: 100 },
  );
  expect(ended).toBeGreaterThan(20);
});
