import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redactor } from '../bundle/redact.ts';
import { AOE_SNAPSHOTS, CLAIMS, EVENTS, PODS, STORAGE_CLASSES } from '../cluster/objects.ts';
import { refused } from '../testing/fake-kubectl.ts';
import { claim, pod, smallCluster } from '../testing/objects.ts';
import { runOn } from '../testing/run.ts';
import { DEVICES_SCRIPT } from './bundle.ts';

const event = (kind: string, namespace: string, name: string, message: string) => ({
  metadata: { name: `${name}.1`, namespace },
  involvedObject: { kind, namespace: kind.startsWith('AoE') ? '' : namespace, name },
  type: 'Warning',
  reason: 'Because',
  message,
  lastTimestamp: '2026-11-28T11:58:00Z',
});

describe('bundle', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'bundle-'));
  afterAll(() => rmSync(scratch, { recursive: true }));
  let count = 0;
  const make = async (fake: ReturnType<typeof cluster>, ...flags: string[]) => {
    const file = join(scratch, `b${++count}.tar.gz`);
    const result = await runOn(fake, ['bundle', `--file=${file}`, ...flags]);
    const tar = (...args: string[]) => execFileSync('tar', ['-f', file, ...args], { encoding: 'utf8', maxBuffer: 1 << 26 });
    return {
      ...result,
      file,
      names: tar('-tz')
        .trim()
        .split('\n')
        .map((name) => name.replace(/^b\d+\//, '')),
      all: tar('-xzO'),
      text: (name: string) => tar('-xzO', `b${count}/${name}`),
    };
  };

  /** Beside the small cluster a pod and a claim that are not ours. */
  function cluster() {
    const restarted = pod('aoe-csi-controller-x', { namespace: 'aoe-csi', component: 'controller' });
    const fake = smallCluster()
      .put(STORAGE_CLASSES, { metadata: { name: 'aoe' }, provisioner: 'aoe.dev' }, { metadata: { name: 'nfs' }, provisioner: 'nfs' })
      .put(CLAIMS, { ...claim('private', 'pv-nfs'), spec: { storageClassName: 'nfs', volumeName: 'pv-nfs' } })
      .put(PODS, pod('private-pod', { claims: ['private'] }), {
        ...restarted,
        status: { ...restarted.status, containerStatuses: [{ name: 'controller', restartCount: 1 }] },
      })
      .put(
        EVENTS,
        event('AoEVolume', 'default', 'pvc-1', 'lock taken by worker-1'),
        event('Pod', 'shop', 'web', 'FailedMount of data'),
        event('Pod', 'shop', 'private-pod', 'hidden'),
      );
    fake.answer = (args) =>
      args[0] === 'logs' ? `a line of ${args[1]} at 02:00:00:00:00:01 for shop/data\n` : 'module loaded\ndisk e7.3 up 020000000001\n';
    return fake;
  }

  it('has our objects, events and logs, and nothing of others', async () => {
    const { code, names, all, text, file, warnings } = await make(cluster());
    expect(code).toBe(0);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(names).toEqual(
      expect.arrayContaining([
        'README.txt',
        'status.txt',
        'locks.txt',
        'orphans.txt',
        'copies.txt',
        'events.txt',
        'volumes/pvc-1.txt',
        'resources/aoevolumes.yaml',
      ]),
    );
    expect(names.filter((name) => name.startsWith('logs/')).toSorted()).toStrictEqual([
      'logs/aoe-csi-agent-s/agent.log',
      'logs/aoe-csi-controller-1/controller.log',
      'logs/aoe-csi-controller-x/controller.log',
      'logs/aoe-csi-controller-x/controller.previous.log',
      'logs/aoe-csi-node-s/csi-node.log',
      'logs/aoe-csi-node-w/csi-node.log',
      'logs/aoe-csi-target-s/target.log',
    ]);
    expect(text('users.txt')).toBe('shop/web on worker-1: Running, claims data\n');
    expect(text('events.txt')).toBe(
      '2026-11-28T11:58:00Z Warning Because AoEVolume pvc-1: lock taken by worker-1\n2026-11-28T11:58:00Z Warning Because Pod shop/web: FailedMount of data\n',
    );
    expect(all).not.toMatch(/private|hidden|nfs/);
    expect(warnings).toMatch('--redact');
  });

  it('never asks for Secrets', async () => {
    const fake = cluster();
    fake.forbidden.add('secrets');
    expect((await make(fake)).notSeen).toStrictEqual([]);
  });

  it('replaces names with --redact, and keeps what they stand for beside it', async () => {
    const { all, names, file, text } = await make(cluster(), '--redact', '--exec');
    // The fake objects have their names in their UIDs.
    expect(all.replace(/uid-[a-z]+/g, '')).not.toMatch(/\bshop\b|\bdata\b|\bweb\b|02:00:00|020000000001/);
    expect(text('users.txt')).toBe('namespace-1/pod-1 on worker-1: Running, claims claim-1\n');
    expect(text('locks.txt')).toMatch(/^pvc-1 +namespace-1\/claim-1 +worker-1/m);
    expect(names).toContain('nodes/worker-1/node.txt');
    expect(names).toContain('nodes/storage-1/agent.txt');
    const kept = JSON.parse(readFileSync(file.replace('.tar.gz', '.names.json'), 'utf8'));
    expect(kept).toMatchObject({ 'namespace-1': 'shop', 'claim-1': 'data', 'pod-1': 'web' });
  });

  it('replaces with --redact MAC addresses that only sysfs has', () => {
    const [devices, block] = [join(scratch, 'sys'), join(scratch, 'sys/block')];
    const files = { state: 'up', mac: '525400123456', netif: 'eth1', size: '2048', inflight: '0 0' };
    for (const [disk, change] of [
      ['etherd!e55.5', {}],
      ['etherd!e55.6', { mac: 'none' }],
    ] as const) {
      mkdirSync(join(block, disk), { recursive: true });
      for (const [name, text] of Object.entries({ ...files, ...change })) writeFileSync(join(block, disk, name), `${text}\n`);
    }
    const text = execFileSync('sh', ['-c', DEVICES_SCRIPT.replaceAll('/sys/', `${devices}/`)], { encoding: 'utf8' });
    expect(text).toMatch('disk e55.5 up 52:54:00:12:34:56 eth1 sectors 2048 inflight 0 0\ndisk e55.6 up none eth1 sectors');
    expect(new Redactor({ namespaces: [], claims: [], pods: [] }).text(text)).toMatch('disk e55.5 up mac-1 eth1');
  });

  it('has the newest lines of a log, and says where it is cut', async () => {
    const fake = cluster();
    const long = 'line\n'.repeat(30_000);
    fake.answer = (args) => (args[1] === 'aoe-csi-agent-s' ? long : args[1] === 'aoe-csi-node-s' ? 'x'.repeat(32 << 20) : 'short\n');
    const { text } = await make(fake);
    const asked = fake.commands.filter(([verb]) => verb === 'logs');
    expect(asked.length).toBeGreaterThan(0);
    for (const args of asked) expect(args).toContain('--tail=30000');
    expect(text('logs/aoe-csi-agent-s/agent.log')).toBe(`(these are the newest 30000 lines: what is older is not in the bundle)\n${long}`);
    expect(text('logs/aoe-csi-node-s/csi-node.log').slice(-80)).toMatch(/x\n\(cut after 32 MiB: what is newer is not in the bundle\)\n$/);
    expect(text('logs/aoe-csi-target-s/target.log')).toBe('short\n');
  });

  it('replaces a name once, and no names of fields', async () => {
    const requests = { requests: { storage: '1Gi' } };
    const fake = cluster().put(
      CLAIMS,
      ...['a', 'claim-1', 'storage'].map((name) => {
        const made = claim(name, `pvc-${name}`);
        return { ...made, spec: { ...made.spec, resources: requests } };
      }),
    );
    const { text, file } = await make(fake, '--redact');
    const yaml = text('resources/persistentvolumeclaims.yaml');
    const names: Record<string, string> = JSON.parse(readFileSync(file.replace('.tar.gz', '.names.json'), 'utf8'));
    const said = [...yaml.matchAll(/^ {4}name: "?(claim-\d+)"?$/gm)].map(([, name = '']) => names[name]);
    expect(said).toStrictEqual(['data', 'a', 'claim-1', 'storage']);
    expect(yaml).toMatch(/requests:\n +storage: /);
  });

  it('replaces with --redact also what only an annotation, a reference to a Secret or a log names, and says what it cannot know', async () => {
    const fake = cluster()
      .put(AOE_SNAPSHOTS, { metadata: { name: 'snapshot-1', annotations: { 'aoe.dev/volume-snapshot': 'acme/nightly' } }, spec: {} })
      .put(STORAGE_CLASSES, {
        metadata: { name: 'safe' },
        provisioner: 'aoe.dev',
        parameters: {
          'csi.storage.k8s.io/node-stage-secret-name': 'passphrase',
          'csi.storage.k8s.io/node-stage-secret-namespace': 'vault',
        },
      });
    fake.answer = () => '{"node":"w","namespace":"bank","pod":"ledger-0","msg":"pod ledger-0 deleted"}\n';
    const { all, text } = await make(fake, '--redact');
    expect(all).toMatch('snapshot-1');
    expect(all).not.toMatch(/acme|nightly|passphrase|vault|bank|ledger/);
    expect(text('README.txt')).toMatch('sure for what exists now');
  });

  it('says in the bundle what may not be read', async () => {
    const fake = cluster();
    fake.forbidden.add('persistentvolumeclaims');
    fake.answer = () => refused({ verb: 'get', plural: 'pods/log', group: '', namespace: 'aoe-csi' });
    const { code, text, names, file } = await make(fake);
    expect(code).toBe(0);
    expect(names.some((name) => name.startsWith('logs/'))).toBe(false);
    expect(text('README.txt')).toMatch('Left out: you may not get pods/log in namespace aoe-csi; you may not list persistentvolumeclaims.');
    expect(existsSync(file.replace('.tar.gz', '.names.json'))).toBe(false);
  });
});
