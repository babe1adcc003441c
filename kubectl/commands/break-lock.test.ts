import { UsageError } from '../../run/config.ts';
import { AOE_VOLUMES, CLAIMS, EVENTS, PERSISTENT_VOLUMES, PODS } from '../cluster/objects.ts';
import { type FakeKubectl, refused } from '../testing/fake-kubectl.ts';
import { claim, NOW, persistentVolume, pod, smallCluster, volume } from '../testing/objects.ts';
import { runOn } from '../testing/run.ts';
import { judge, warning } from './break-lock.ts';

const other = volume('mac', { status: { holder: { name: '"net.corvus…"', raw: 'net.corvus.apple me' } } });
const ANNOTATE = ['annotate', 'aoevolumes.aoe.dev', 'pvc-1', '--overwrite', 'aoe.dev/break-lock=worker-1'];

const result = (reason: string, message: string, at: string) => ({
  metadata: { name: `pvc-1.${at}`, namespace: 'default' },
  involvedObject: { name: 'pvc-1', uid: 'uid-pvc-1' },
  reason,
  message,
  eventTime: at,
});

/** A clock on which 20 s pass with each look. */
const hurried = () => {
  let time = NOW;
  return () => {
    time += 20_000;
    return time;
  };
};
/** Breaks the lock of worker-1, with `change` as what the agent does to the cluster. */
const breakOn = (fake: FakeKubectl, change: (cluster: FakeKubectl) => unknown = () => undefined) => {
  fake.answer = () => {
    change(fake);
    return '';
  };
  return runOn(fake, ['break-lock', 'pvc-1', '--holder=worker-1'], { now: hurried() });
};
const cutOff = volume('pvc-1', { spec: { initiators: {} }, status: { holder: undefined } });

describe('judge', () => {
  it.each([
    ['the holder is named', volume('v'), 'worker-1', 'break'],
    ['its whole string is named', volume('v'), volume('v').status?.holder?.raw ?? '', 'break'],
    ['the string of another program is named', other, 'net.corvus.apple me', 'break'],
    ['a node is named in quotes', volume('v'), '"worker-1"', 'break'],
    ['another node is named', volume('v'), 'worker-2', 'refuse'],
    ['only the start of a string is named', other, 'net.corvus', 'refuse'],
    ['nothing is named', volume('v'), '', 'refuse'],
    ['nobody has it', volume('v', { status: { holder: undefined } }), 'worker-1', 'free'],
    ['the target is outside', volume('v', { spec: { external: { shelf: 1, slot: 2 } } }), 'worker-1', 'refuse'],
  ])('when %s', (_, subject, named, outcome) => expect(judge(subject, named).outcome).toBe(outcome));
});

describe('break-lock', () => {
  it('writes the annotation, and tells what the agent made of it', async () => {
    const fake = smallCluster().put(EVENTS, result('LockBroken', 'an earlier time', '2026-11-27T10:00:00.000001Z'));
    fake.answer = () => {
      fake.put(EVENTS, result('LockBroken', 'the lock held by node worker-1 is broken', '2026-11-28T12:00:01.000001Z'));
      return '';
    };
    const { out, code } = await runOn(fake, ['break-lock', 'pvc-1', '--holder', 'worker-1']);
    expect(code).toBe(0);
    expect(fake.commands).toStrictEqual([ANNOTATE]);
    expect(out).toBe(
      'The agent on storage-1 was asked to break the lock of volume pvc-1 held by worker-1.\nthe lock held by node worker-1 is broken\n',
    );
  });

  it('refuses another name, and writes nothing', async () => {
    const fake = smallCluster();
    const { code, warnings } = await runOn(fake, ['break-lock', 'pvc:shop/data', '--holder=worker-2']);
    expect(code).toBe(1);
    expect(warnings).toBe('the lock of volume pvc-1 is held by worker-1, not by "worker-2": nothing was done\n');
    expect(fake.commands).toStrictEqual([]);
  });

  it('asks at a terminal for the name, and tells before what that means', async () => {
    const fake = smallCluster();
    const { code, out } = await runOn(fake, ['break-lock', 'pvc-1'], { typed: 'yes' });
    expect(code).toBe(1);
    expect(fake.commands).toStrictEqual([]);
    expect(out).toBe(`The lock of volume pvc-1 is held by worker-1, for 1h.
worker-1 is cut off, and the lock is cleared: pods that use the volume there get I/O errors.
These pods use it there: shop/web
Kubernetes does not learn that the volume was detached: better delete the pod, or its VolumeAttachment.
`);
    expect(warning(other, undefined, NOW).join('\n')).toMatch('It is not a lock of this project');
    expect(warning(volume('v'), [pod('elsewhere', { node: 'worker-2' })], NOW).join('\n')).not.toMatch('elsewhere');
  });

  it('knows that no pod uses a volume without a claim', async () => {
    const { out } = await runOn(smallCluster().put(AOE_VOLUMES, other), ['break-lock', 'mac'], { typed: '' });
    expect(out).not.toMatch('Which pods use it');
  });

  it('takes the name that was typed, in quotes or not', async () => {
    const fake = smallCluster().put(AOE_VOLUMES, other).put(EVENTS);
    fake.answer = () => ({ code: 1, stdout: '', stderr: 'Error from server (Timeout): x\n' });
    await expect(runOn(fake, ['break-lock', 'mac'], { typed: ' "net.corvus.apple me" ' })).rejects.toThrow('kubectl annotate');
    expect(fake.commands[0]?.at(-1)).toBe('aoe.dev/break-lock=net.corvus.apple me');
  });

  it('takes a string as it is shown, one with bytes that do not print, too', async () => {
    const raw = 'a\\x00b "c"';
    const binary = volume('mac', { status: { holder: { name: `"${raw}"`, raw } } });
    const written = async (args: readonly string[], more: { typed?: string } = {}) => {
      const fake = smallCluster().put(AOE_VOLUMES, binary);
      fake.answer = () => refused({ verb: 'patch', plural: 'aoevolumes', group: 'aoe.dev' });
      await runOn(fake, ['break-lock', 'mac', ...args], more);
      return fake.commands.map((given) => given.at(-1));
    };
    const { out } = await runOn(smallCluster().put(AOE_VOLUMES, binary), ['break-lock', 'mac'], { typed: 'no' });
    const [, shown = ''] = /is held by (.*)\.$/m.exec(out) ?? [];
    const [, listed = ''] = /^mac +- +(".*"|\S+) {3}/m.exec((await runOn(smallCluster().put(AOE_VOLUMES, binary), ['locks'])).out) ?? [];
    expect([shown, listed]).toStrictEqual([`"${raw}"`, `"${raw}"`]);
    for (const typed of [raw, shown, JSON.stringify(raw)]) {
      expect(await written([], { typed })).toStrictEqual([`aoe.dev/break-lock=${raw}`]);
      expect(await written([`--holder=${typed}`])).toStrictEqual([`aoe.dev/break-lock=${raw}`]);
    }
  });

  it('needs --holder where nobody can be asked', async () => {
    await expect(runOn(smallCluster(), ['break-lock', 'pvc-1'])).rejects.toThrow(UsageError);
  });

  it('is done when nobody has the lock', async () => {
    const fake = smallCluster().put(AOE_VOLUMES, volume('free', { status: { holder: undefined } }));
    expect(await runOn(fake, ['break-lock', 'free', '--holder=x'])).toMatchObject({
      code: 0,
      out: 'nobody has the lock of volume free: there is nothing to break\n',
    });
  });

  it('names the right that is missing', async () => {
    const fake = smallCluster();
    fake.answer = () => refused({ verb: 'patch', plural: 'aoevolumes', group: 'aoe.dev' });
    expect(await runOn(fake, ['break-lock', 'pvc-1', '--holder=worker-1'])).toMatchObject({
      code: 1,
      notSeen: ['you may not patch aoevolumes.aoe.dev'],
    });
  });

  it('says that the order stays when no agent takes it', async () => {
    const waiting = volume('pvc-2', { metadata: { annotations: { 'aoe.dev/break-lock': 'worker-1' } } });
    const fake = smallCluster().put(AOE_VOLUMES, waiting);
    const { code, warnings } = await runOn(fake, ['break-lock', 'pvc-2', '--holder=worker-1'], { now: hurried() });
    expect(code).toBe(1);
    expect(warnings).toMatch('The annotation stays, and the lock is broken when the agent');
  });

  it('fails when the holder has changed meanwhile', async () => {
    const fake = smallCluster();
    fake.answer = () => {
      fake.put(EVENTS, result('LockNotBroken', 'the lock is free', '2026-11-28T12:00:01Z'));
      return '';
    };
    expect(await runOn(fake, ['break-lock', 'pvc-1', '--holder=worker-1'])).toMatchObject({ code: 1, warnings: 'the lock is free\n' });
  });

  it('knows a new event by its name when the clock of its node is behind', async () => {
    const fake = smallCluster().put(EVENTS, result('LockBroken', 'an earlier time', '2026-11-28T12:00:09Z'));
    const refusal = result('LockNotBroken', 'the lock is free', '2026-11-28T12:00:01Z');
    expect(await breakOn(fake, () => fake.put(EVENTS, refusal))).toMatchObject({ code: 1, warnings: 'the lock is free\n' });
  });

  it('does not say that it is done when no event tells it and the volume does not show it', async () => {
    for (const forbidden of ['events', '']) {
      const fake = smallCluster();
      fake.forbidden.add(forbidden);
      const { code, out, warnings } = await breakOn(fake);
      expect(code).toBe(1);
      expect(warnings).toMatch('The order was taken, but its result is not known: no event');
      expect(out).not.toMatch(/done|no longer/);
    }
  });

  it.each([
    ['the lock is free, but the node is not cut off', volume('pvc-1', { status: { holder: undefined } }), 1],
    ['the node is cut off, but its lock is not cleared', volume('pvc-1', { spec: { initiators: {} } }), 1],
    ['it is cut off, and its lock cleared', cutOff, 0],
  ])('decides by the volume without an event: %s', async (_, after, code) => {
    const fake = smallCluster();
    expect((await breakOn(fake, () => fake.put(AOE_VOLUMES, after))).code).toBe(code);
  });

  it('fails when the volume was deleted, made again, or can no longer be read', async () => {
    const deleted = await breakOn(smallCluster(), (fake) => fake.delete(AOE_VOLUMES, 'pvc-1'));
    expect(deleted).toMatchObject({ code: 1, warnings: 'Volume pvc-1 was deleted meanwhile\n' });
    const again = await breakOn(smallCluster(), (fake) => fake.put(AOE_VOLUMES, volume('pvc-1', { metadata: { uid: 'another' } })));
    expect(again).toMatchObject({ code: 1, warnings: 'Volume pvc-1 was deleted meanwhile\n' });
    const hidden = await breakOn(smallCluster(), (fake) => fake.forbidden.add('aoevolumes'));
    expect(hidden).toMatchObject({ code: 1, warnings: expect.stringMatching('is not known: volume pvc-1 can no longer be read') });
  });

  it('takes none of several volumes by chance', async () => {
    const fake = smallCluster()
      .put(AOE_VOLUMES, volume('pvc-0', { status: { holder: undefined } }))
      .put(PERSISTENT_VOLUMES, persistentVolume('pvc-0', 'logs'))
      .put(CLAIMS, claim('logs', 'pvc-0'))
      .put(PODS, pod('two', { claims: ['logs', 'data'] }));
    const both = '"pod:shop/two" has several volumes: pvc-0 (claim shop/logs), pvc-1 (claim shop/data): name one of them';
    const run = (...args: string[]) => runOn(fake, args);
    await expect(run('break-lock', 'pod:shop/two', '--holder=worker-1')).rejects.toThrow(new UsageError(both));
    await expect(run('trace', 'pod:shop/two')).rejects.toThrow(new UsageError(both));
    expect(fake.commands).toStrictEqual([]);
  });
});
