import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { UsageError } from '../../run/config.ts';
import { AOE_VOLUMES } from '../cluster/objects.ts';
import { refused } from '../testing/fake-kubectl.ts';
import { smallCluster, volume } from '../testing/objects.ts';
import { runOn } from '../testing/run.ts';
import { traceCommand } from './trace.ts';

describe('trace', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'trace-'));
  const file = join(scratch, 't.pcap');
  afterAll(() => rmSync(scratch, { recursive: true }));

  it('runs in the target pod of the storage node, and writes bytes to a file that only its owner reads', async () => {
    const fake = smallCluster();
    fake.answer = (_args, { to }) => {
      to?.write(Buffer.from([0xff, 0, 1]));
      return '';
    };
    const { out, code } = await runOn(fake, ['trace', 'pvc-1', '--seconds=3', '--snap', '64', `--file=${file}`]);
    expect(code).toBe(0);
    expect(fake.commands).toStrictEqual([
      [
        ...['exec', 'aoe-csi-target-s', '--namespace', 'aoe-csi', '--container', 'target', '--'],
        ...['aoe-target', 'trace', '--socket', '/run/aoe-csi/target.sock', '--volume', 'uid-pvc-1', '--seconds', '3', '--snap', '64'],
      ],
    ]);
    expect(readFileSync(file).toString('hex')).toBe('ff0001');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(out).toMatch(/^Recording the frames of volume pvc-1 on storage-1 for 3 s\n.*: 3 bytes;/);
  });

  it('leaves no file when the right is missing', async () => {
    const fake = smallCluster();
    fake.answer = () => refused({ verb: 'create', plural: 'pods/exec', group: '', namespace: 'aoe-csi' });
    const other = join(scratch, 'none.pcap');
    expect(await runOn(fake, ['trace', 'pvc-1', `--file=${other}`])).toMatchObject({
      code: 1,
      notSeen: ['you may not create pods/exec in namespace aoe-csi'],
    });
    expect(existsSync(other)).toBe(false);
    expect(existsSync(`${other}.part`)).toBe(false);
  });

  it('keeps an earlier trace until it has another', async () => {
    const fake = smallCluster();
    const other = join(scratch, 'kept.pcap');
    writeFileSync(other, 'earlier');
    fake.answer = (_args, { to }) => {
      to?.write('beg');
      return { code: 1, stdout: '', stderr: 'error: unable to upgrade connection: EOF\n' };
    };
    await expect(runOn(fake, ['trace', 'pvc-1', `--file=${other}`])).rejects.toThrow('unable to upgrade connection');
    expect(readFileSync(other, 'utf8')).toBe('earlier');
    expect(readFileSync(`${other}.part`, 'utf8')).toBe('beg');
    fake.answer = (_args, { to }) => {
      to?.write('later');
      return '';
    };
    expect(await runOn(fake, ['trace', 'pvc-1', `--file=${other}`])).toMatchObject({ code: 0 });
    expect(readFileSync(other, 'utf8')).toBe('later');
    expect(existsSync(`${other}.part`)).toBe(false);
  });

  it('says that a file cannot be made, or has no room, and records nothing in vain', async () => {
    const fake = smallCluster();
    await expect(runOn(fake, ['trace', 'pvc-1', `--file=${join(scratch, 'nowhere/t.pcap')}`])).rejects.toThrow('ENOENT');
    expect(fake.commands).toStrictEqual([]);
    fake.answer = (_args, { to }) => {
      to?.write('frame');
      return '';
    };
    await expect(runOn(fake, ['trace', 'pvc-1', '--file=/dev/full'])).rejects.toThrow('ENOSPC');
  });

  it('says why it cannot be', async () => {
    const fake = smallCluster().put(
      AOE_VOLUMES,
      volume('outside', { spec: { external: { shelf: 1, slot: 1 } } }),
      volume('away', { spec: { nodeName: 'storage-9' } }),
    );
    await expect(runOn(fake, ['trace', 'outside'])).rejects.toThrow('outside this project');
    await expect(runOn(fake, ['trace', 'away'])).rejects.toThrow('no target pod was found on node storage-9 in namespace aoe-csi');
    expect(() => traceCommand(volume('v'), (flag) => (flag === 'seconds' ? '1.5' : undefined))).toThrow(UsageError);
  });
});
