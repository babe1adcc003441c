import { UsageError } from '../../run/config.ts';
import { AOE_VOLUMES, EVENTS } from '../cluster/objects.ts';
import { refused } from '../testing/fake-kubectl.ts';
import { NOW, pod, smallCluster, volume } from '../testing/objects.ts';
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

describe('judge', () => {
  it.each([
    ['the holder is named', volume('v'), 'worker-1', 'break'],
    ['its whole string is named', volume('v'), volume('v').status?.holder?.raw ?? '', 'break'],
    ['the string of another program is named', other, 'net.corvus.apple me', 'break'],
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

  it('takes the name that was typed, in quotes or not', async () => {
    const fake = smallCluster().put(AOE_VOLUMES, other).put(EVENTS);
    fake.answer = () => ({ code: 1, stdout: '', stderr: 'Error from server (Timeout): x\n' });
    await expect(runOn(fake, ['break-lock', 'mac'], { typed: ' "net.corvus.apple me" ' })).rejects.toThrow('kubectl annotate');
    expect(fake.commands[0]?.at(-1)).toBe('aoe.dev/break-lock=net.corvus.apple me');
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
    let time = NOW;
    const now = () => {
      time += 20_000;
      return time;
    };
    const { code, warnings } = await runOn(smallCluster().put(AOE_VOLUMES, waiting), ['break-lock', 'pvc-2', '--holder=worker-1'], { now });
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
});
