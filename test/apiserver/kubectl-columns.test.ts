import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { AOE_NODES, AOE_POOLS, AOE_VOLUMES, API_VERSION } from '../../api/resources.ts';
import type { Kube } from '../../kube/mod.ts';
import { KNOWN_OBJECTS } from '../docs/yaml.ts';
import { KIT, SNAPSHOT_CRDS } from '../testbed/kit.ts';
import { type ApiServer, serveTests, unavailable } from './server.ts';

const VOLUME = { capacity: '1Gi', pool: 'default' };
const PLACED = { ...VOLUME, nodeName: 'n1', address: { shelf: 7, slot: 3 } };

let server: ApiServer;
let kube: Kube;

describe.skipIf(unavailable)('kubectl, with the CRDs on a real API server, for columns, fields and all documented objects,', () => {
  serveTests((started) => {
    ({ server, kube } = started);
  });

  const kubectl = async (...args: string[]) => {
    const { stdout } = await promisify(execFile)(join(KIT, 'kubectl'), ['--kubeconfig', server.kubeconfig, ...args], { timeout: 120_000 });
    return stdout;
  };

  const kubectlCreate = async (object: object) => {
    const args = ['--kubeconfig', server.kubeconfig, 'create', '-f', '-'];
    const running = promisify(execFile)(join(KIT, 'kubectl'), args, { timeout: 120_000 });
    running.child.stdin?.end(JSON.stringify(object));
    await running;
  };

  it('shows what matters in columns', async () => {
    const name = 'columns';
    await kube.create(AOE_VOLUMES, { metadata: { name }, spec: PLACED });
    const held = { phase: 'Ready', capacity: '1Gi', address: 'e7.3', holder: { name: 'worker-1', node: 'worker-1', raw: 'aoe.dev/1' } };
    await kube.patch(AOE_VOLUMES, name, { status: held }, { subresource: 'status' });
    const [head, row] = (await kubectl('get', 'aoev', name)).split('\n').map((line) => line.trim().split(/\s+/));
    expect(head).toStrictEqual(['NAME', 'SIZE', 'POOL', 'NODE', 'ADDRESS', 'ACCESS', 'HOLDER', 'PHASE', 'AGE']);
    expect(row?.slice(0, -1)).toStrictEqual([name, '1Gi', 'default', 'n1', 'e7.3', 'Exclusive', 'worker-1', 'Ready']);
    await kube.create(AOE_POOLS, { metadata: { name }, spec: { backend: 'file', directory: '/d' } });
    const ready = { type: 'Ready', status: 'True', reason: 'Ready', message: 'x', lastTransitionTime: '2026-01-01T00:00:00Z' };
    const pool = { readyNodes: 2, size: '3Gi', free: '2Gi', conditions: [ready] };
    await kube.patch(AOE_POOLS, name, { status: pool }, { subresource: 'status' });
    expect(await kubectl('get', 'aoep', name)).toMatch(
      /^NAME +BACKEND +NODES +SIZE +FREE +READY +AGE\ncolumns +file +2 +3Gi +2Gi +True +\S+\n$/,
    );
    await kube.create(AOE_NODES, { metadata: { name }, spec: {} });
    const at = { reason: 'A', message: '', lastTransitionTime: '2026-01-01T00:00:00Z' };
    const conditions = ['InitiatorReady', 'TargetReady'].map((type, i) => ({ type, status: i === 0 ? 'True' : 'False', ...at }));
    await kube.patch(AOE_NODES, name, { status: { segment: 's', targets: 4, conditions } }, { subresource: 'status' });
    const line = /^NAME +SEGMENT +INITIATOR +TARGET +VOLUMES +MAINTENANCE +AGE\ncolumns +s +True +False +4 +false +\S+\n$/;
    expect(await kubectl('get', 'aoen', name)).toMatch(line);
  });

  it('names a field that does not exist', async () => {
    const object = { apiVersion: API_VERSION, kind: AOE_VOLUMES.kind, metadata: { name: 'typo' }, spec: { ...VOLUME, size: '1Gi' } };
    await expect(kubectlCreate(object)).rejects.toThrow(/unknown field \\?"spec\.size\\?"/);
  });

  it('explains every field of a spec', async () => {
    const text = await kubectl('explain', 'aoevolume.spec');
    for (const word of ['capacity', 'initiators', 'deletionPolicy', 'What happens to the data']) expect(text, word).toContain(word);
  });

  it('accepts every object of the documentation and the examples', async () => {
    await kubectl('apply', '-f', SNAPSHOT_CRDS);
    await kubectl('wait', 'crd', '--all', '--for=condition=Established', '--timeout=120s');
    const namespaces = new Set(KNOWN_OBJECTS.map(({ content }) => content.metadata?.namespace ?? 'default'));
    for (const namespace of namespaces) {
      if (namespace !== 'default') await kubectl('create', 'namespace', namespace);
      // A pod is refused without. No controller is here that would make it.
      await kubectl('create', 'serviceaccount', 'default', '-n', namespace);
    }
    const args = KNOWN_OBJECTS.map(({ where, content }, index) => {
      const file = join(server.directory, `${where.replaceAll(/[/:]/g, '_')}_${index}.json`);
      writeFileSync(file, JSON.stringify(content));
      return `--filename=${file}`;
    });
    const command = ['--kubeconfig', server.kubeconfig, 'create', '--dry-run=server', '--validate=strict', '--output=name', ...args];
    const run = promisify(execFile)(join(KIT, 'kubectl'), command, { timeout: 120_000 });
    // Its errors name the files. Warnings, as of a field that is deprecated, are none that users should get either.
    const { stdout, stderr } = await run.catch((error: { stdout: string; stderr: string }) => error);
    expect(stderr).toBe('');
    expect(stdout.trim().split('\n')).toHaveLength(KNOWN_OBJECTS.length);
  });
});
