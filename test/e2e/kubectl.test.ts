import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { bundlePlugin } from '../../scripts/bundle-plugin.ts';
import { Cluster } from '../testbed/cluster.ts';
import { KIT } from '../testbed/kit.ts';
import { type CommandError, runInNetns } from '../testbed/process/shell.ts';
import { claim, pod, storageClass } from './manifests.ts';
import { Namespace } from './namespace.ts';

const WRITER = 'touch /tmp/ready; while true; do date > /data/f; sync; sleep 0.2; done';
/** First bytes of a pcap file with times in nanoseconds, on a machine with little-endian numbers. */
const PCAP = '4d3cb2a1';

describe('kubectl aoe', () => {
  let cluster: Cluster;
  let ns: Namespace;
  let volume: string;
  const scratch = mkdtempSync(join(tmpdir(), 'kubectl-aoe-'));

  beforeAll(async () => {
    cluster = await Cluster.attach();
    await bundlePlugin(join(scratch, 'kubectl-aoe'));
    ns = await Namespace.create(cluster, 'plugin');
    await cluster.apply([storageClass('plugin', { pool: 'lvm' }, 'Immediate')]);
    await ns.apply([
      claim('data', { storageClass: 'plugin' }),
      pod('writer', { claim: 'data', node: 'worker-1', script: WRITER }),
      { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'hidden' }, stringData: { word: 'xyzzy-secret' } } as never,
    ]);
    volume = await ns.bound('data');
    await ns.ready('writer', 120_000);
  });
  afterAll(async () => {
    await ns?.delete();
    await cluster?.kubectl(['delete', 'storageclass', 'plugin', 'plugin-encrypted', '--ignore-not-found']);
    rmSync(scratch, { recursive: true, force: true });
  });

  /** As a person calls it: kubectl finds it in the PATH. */
  const aoe = (...args: string[]) => {
    const env = {
      ...process.env,
      PATH: `${scratch}:${KIT}:${dirname(process.execPath)}:${process.env.PATH}`,
      KUBECONFIG: cluster.kubeconfig,
    };
    return runInNetns('kubectl', ['aoe', ...args], { env });
  };
  /** What a command prints, once it says all this: what a test did before this one may not be over yet. */
  const says = async (args: string[], patterns: RegExp[]): Promise<string> => {
    let text = '';
    await cluster.poll(
      async () => {
        text = await aoe(...args);
        return patterns.every((pattern) => pattern.test(text)) || undefined;
      },
      { timeoutMs: 60_000, what: `kubectl aoe ${args.join(' ')} to say ${patterns.join(' ')}`, explain: () => text },
    );
    show(text);
    return text;
  };
  const show = (text: string) => process.env.SHOW && process.stderr.write(`${text}\n`);

  it('shows the state of the whole on one page', async () => {
    await says(
      ['status'],
      [/^ {2}worker-1 +default +DriverLoaded/m, /^ {2}storage-1 +default +DriverLoaded +Serving/m, /^ {2}lvm +lvm +Ready +2\/2/m],
    );
    show(await aoe('get', `pvc:${ns.name}/data`));
    show(await aoe('orphans'));
    show(await aoe('check', 'node', 'storage-1'));
  });

  it('follows the way from a running pod to the disk, and finds nothing wrong', async () => {
    const text = await says(
      ['path', `pod:${ns.name}/writer`, '--exec', '--exit-code'],
      [
        /^mount +ok +ext4 at .*\/mount$/m,
        /^disk +ok +\/dev\/etherd\/e[0-9.]+ is up/m,
        /^module +ok +aoe is loaded: .*aoe_deadsecs=/m,
        /^lock +ok +held by worker-1/m,
        // 64 MiB, and the tail.
        /^backing volume +ok +\/dev\/vg0\/aoe-.*, 71303168 bytes$/m,
      ],
    );
    expect(text).not.toMatch(/^.* (WRONG|\?) /m);
  });

  it('lists the lock, and does not break that of another holder', async () => {
    const text = await aoe('locks');
    show(text);
    expect(text).toMatch(new RegExp(`^${volume} +${ns.name}/data +worker-1 +\\S+ +Ready +-$`, 'm'));
    const refused = await aoe('break-lock', volume, '--holder=storage-2').catch((error: unknown) => error);
    expect((refused as CommandError).stderr).toMatch(/held by worker-1, not by "storage-2": nothing was done/);
    expect((await cluster.getJson('aoev', volume)).metadata.annotations['aoe.dev/break-lock']).toBeUndefined();
    expect(await aoe('locks')).toMatch('worker-1');
  });

  it('traces the frames of the volume into a file', async () => {
    const file = join(scratch, 'trace.pcap');
    show(await aoe('trace', volume, '--seconds=10', `--file=${file}`));
    const bytes = readFileSync(file);
    expect(bytes.subarray(0, 4).toString('hex')).toBe(PCAP);
    // More than the header of the file: the pod writes.
    expect(bytes.length).toBeGreaterThan(200);
  });

  it('makes a bundle with logs and without Secrets', async () => {
    const file = join(scratch, 'bundle.tar.gz');
    show(await aoe('bundle', '--redact', '--exec', `--file=${file}`));
    expect(existsSync(join(scratch, 'bundle.names.json'))).toBe(true);
    const tar = (...args: string[]) => execFileSync('tar', args, { encoding: 'utf8', maxBuffer: 512 << 20 });
    const names = tar('-tzf', file);
    show(names);
    expect(names).toMatch(/logs\/aoe-csi-agent-\w+\/agent\.log/);
    expect(names).toMatch(/nodes\/worker-1\/node\.txt/);
    const all = tar('-xzOf', file);
    expect(all).not.toMatch('xyzzy-secret');
    expect(all).not.toMatch(/kind: Secret/);
    expect(all).not.toMatch(new RegExp(`\\b${ns.name}\\b`));
    expect(all).not.toMatch(/\b[0-9a-f]{2}(:[0-9a-f]{2}){5}\b/);
    expect(all).toMatch(`volumes/${volume}`.slice('volumes/'.length));
  });

  it('follows the way to an encrypted volume through its mapping', async () => {
    const secret = Object.fromEntries(
      ['node-stage', 'node-publish'].flatMap((call) => [
        [`csi.storage.k8s.io/${call}-secret-name`, 'key'],
        [`csi.storage.k8s.io/${call}-secret-namespace`, ns.name],
      ]),
    );
    await cluster.apply([storageClass('plugin-encrypted', { pool: 'lvm', encrypted: 'true', ...secret }, 'Immediate')]);
    await ns.apply([
      { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'key' }, stringData: { encryptionPassphrase: 'key-of-the-test' } } as never,
      claim('secret', { storageClass: 'plugin-encrypted' }),
      pod('secret', { claim: 'secret', node: 'worker-1', script: WRITER }),
    ]);
    await ns.ready('secret', 180_000);
    const text = await says(
      ['path', `pod:${ns.name}/secret`, '--exec', '--exit-code'],
      [/^mount +ok +ext4 at .*\/mount$/m, /^encryption +ok +LUKS2, unlocked as \/dev\/mapper\/aoe-e[0-9.]+-/m],
    );
    expect(text).not.toMatch(/^.* (WRONG|\?) /m);
  });
});
