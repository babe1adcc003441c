import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Script } from 'node:vm';
import { parse } from 'yaml';
import { CHART, helpOf, kitProgram, lint, type Manifest, render } from './helm.ts';

const of = (manifests: Manifest[], kind: string, name?: string): Manifest =>
  manifests.find((manifest) => manifest.kind === kind && (name === undefined || manifest.metadata.name === name)) ??
  assert.fail(`no ${kind} ${name ?? ''} among the manifests`);
const podSpecs = (manifests: Manifest[]): Manifest[] =>
  manifests.flatMap((manifest) =>
    manifest.kind === 'Pod' ? [manifest.spec] : manifest.spec?.template ? [manifest.spec.template.spec] : [],
  );
const containers = (manifests: Manifest[]): Manifest[] => podSpecs(manifests).flatMap((spec) => spec.containers);
const container = (manifests: Manifest[], name: string): Manifest =>
  containers(manifests).find((candidate) => candidate.name === name) ?? assert.fail(`no container ${name}`);

describe('the chart with its defaults', () => {
  let manifests: Manifest[];
  beforeAll(async () => {
    manifests = await render();
  });

  it('passes helm lint', async () => {
    expect(await lint()).toMatch(/0 chart\(s\) failed/);
  });

  it('runs the controller as nobody, with a read-only root and no capabilities', () => {
    const spec = of(manifests, 'Deployment', 'aoe-csi-controller').spec.template.spec;
    expect(spec.securityContext.runAsNonRoot).toBe(true);
    expect(spec.securityContext.runAsUser > 0).toBe(true);
    expect(spec.securityContext.seccompProfile.type).toBe('RuntimeDefault');
    expect(spec.hostNetwork).toBeUndefined();
    expect(spec.containers.length).toBe(4);
    for (const { name, securityContext } of spec.containers) {
      expect(securityContext.readOnlyRootFilesystem, name).toBe(true);
      expect(securityContext.allowPrivilegeEscalation, name).toBe(false);
      expect(securityContext.capabilities.drop, name).toStrictEqual(['ALL']);
    }
    expect(
      spec.volumes.every((volume: Manifest) => volume.emptyDir),
      'the controller sees no directory of the node',
    ).toBeTruthy();
  });

  it('replaces a target only when a person deletes its pod', () => {
    expect(of(manifests, 'DaemonSet', 'aoe-csi-target').spec.updateStrategy.type).toBe('OnDelete');
    expect(of(manifests, 'DaemonSet', 'aoe-csi-agent').spec.updateStrategy.type).toBe('RollingUpdate');
  });

  it('gives the target no token for the API server', () => {
    expect(of(manifests, 'DaemonSet', 'aoe-csi-target').spec.template.spec.automountServiceAccountToken).toBe(false);
    const bound = manifests.filter(({ kind }) => /Binding$/.test(kind)).flatMap(({ subjects }) => subjects);
    expect(bound.some(({ name }: Manifest) => name === 'aoe-csi-target')).toBe(false);
  });

  it('has no wildcard in its rules, and no right to secrets', () => {
    for (const { metadata, rules } of manifests.filter(({ kind }) => kind === 'ClusterRole' || kind === 'Role')) {
      for (const rule of rules) {
        for (const word of [...rule.apiGroups, ...rule.resources, ...rule.verbs])
          expect(word.includes('*'), `${metadata.name}: ${word}`).toBeFalsy();
        expect(rule.resources.includes('secrets'), metadata.name).toBeFalsy();
      }
    }
  });

  it('binds every role to a service account that some pod uses', () => {
    const accounts = new Set(podSpecs(manifests).map(({ serviceAccountName }) => serviceAccountName));
    const roles = new Set(
      manifests.filter(({ kind }) => kind === 'ClusterRole' || kind === 'Role').map(({ kind, metadata }) => `${kind}/${metadata.name}`),
    );
    for (const { roleRef, subjects } of manifests.filter(({ kind }) => /Binding$/.test(kind))) {
      expect(roles.delete(`${roleRef.kind}/${roleRef.name}`), `${roleRef.name} is bound but not there`).toBe(true);
      for (const { name, namespace } of subjects) {
        expect(accounts.has(name), name).toBe(true);
        expect(namespace).toBe('aoe');
      }
    }
    expect([...roles]).toStrictEqual([]);
  });

  it('requests resources for every container', () => {
    for (const { name, resources } of containers(manifests))
      expect(resources?.requests?.cpu && resources.requests.memory, name).toBeTruthy();
  });

  it('probes every program of ours that has an HTTP port, by a port that it is told to open', () => {
    for (const { name, args, ports, livenessProbe, readinessProbe } of containers(manifests)) {
      const flag = args.find((argument: string) => argument.startsWith('--http='));
      if (!flag) continue;
      expect(ports[0].containerPort, name).toBe(Number(flag.split(':')[1]));
      expect(livenessProbe.httpGet.port, name).toBe(ports[0].name);
      expect(readinessProbe.httpGet.port, name).toBe(ports[0].name);
    }
  });

  it('uses no HTTP port twice in the node network', () => {
    const ports = podSpecs(manifests)
      .filter((spec) => spec.hostNetwork)
      .flatMap((spec) => spec.containers)
      .flatMap((one) => one.ports ?? [])
      .map((port) => port.containerPort);
    expect(new Set(ports).size).toBe(ports.length);
  });

  it('lets mounts made by the node plugin reach the pods', () => {
    const { volumeMounts, args } = container(manifests, 'csi-node');
    const kubelet = volumeMounts.find((mount: Manifest) => mount.mountPath === '/var/lib/kubelet');
    expect(kubelet.mountPropagation).toBe('Bidirectional');
    expect(args.includes('--endpoint=unix:///var/lib/kubelet/plugins/aoe.dev/csi.sock')).toBeTruthy();
  });

  it('shows agent and target the same directories at the same paths', () => {
    const paths = (name: string): string[] => container(manifests, name).volumeMounts.map((mount: Manifest) => mount.mountPath);
    for (const path of paths('target')) expect(paths('agent'), path).toContain(path);
  });

  it('keeps the storage parts on tainted nodes', () => {
    for (const name of ['aoe-csi-node', 'aoe-csi-agent', 'aoe-csi-target']) {
      const { tolerations, priorityClassName } = of(manifests, 'DaemonSet', name).spec.template.spec;
      expect(tolerations).toStrictEqual([{ operator: 'Exists' }]);
      expect(priorityClassName).toBe('system-node-critical');
    }
  });

  it('registers a driver that attaches, publishes capacity and leaves file ownership to the kubelet', () => {
    const { metadata, spec } = of(manifests, 'CSIDriver');
    expect(metadata.name).toBe('aoe.dev');
    expect(spec.attachRequired).toBe(true);
    expect(spec.storageCapacity).toBe(true);
    expect(spec.fsGroupPolicy).toBe('File');
  });

  it('keeps pools on uninstall, and makes no class the default unasked', () => {
    expect(of(manifests, 'AoEPool').metadata.annotations['helm.sh/resource-policy']).toBe('keep');
    expect(of(manifests, 'StorageClass').metadata.annotations).toBeUndefined();
  });

  it('gives the sidecars only flags that they know', async () => {
    for (const name of ['csi-provisioner', 'csi-attacher']) {
      const help = await helpOf(kitProgram(name));
      for (const argument of container(await render({ controller: { replicas: 2 } }), name).args) {
        const flag = argument.replace(/^-+/, '').split('=')[0];
        expect(help, `${name} does not know --${flag}`).toMatch(new RegExp(`^ +-{1,2}${flag}\\b`, 'm'));
      }
    }
  });

  it('has a test pod whose script is valid JavaScript', () => {
    const script = container(manifests, 'test').args[0];
    expect(script.trim()).toBe(readFileSync(join(CHART, 'files/ready.mjs'), 'utf8').trim());
    expect(() => new Script(script)).not.toThrow();
  });
});

describe('values of the chart', () => {
  it('can describe LVM pools, several classes, interfaces and digests', async () => {
    const manifests = await render({
      image: { repository: 'registry.example/aoe-csi', digest: `sha256:${'0'.repeat(64)}` },
      imagePullSecrets: [{ name: 'pull' }],
      kubeletPath: '/var/lib/k0s/kubelet',
      interfaces: ['eth1', 'eth2'],
      addresses: { shelves: '100-200' },
      pools: [
        { name: 'fast', backend: 'lvm', volumeGroup: 'nvme', nodeSelector: { disk: 'nvme' } },
        { name: 'thin', backend: 'lvm-thin', volumeGroup: 'hdd', thinPool: 'thin' },
        { name: 'files', backend: 'file', directory: '/srv/aoe/files' },
      ],
      storage: { directories: ['/srv/aoe'] },
      storageClasses: [
        { name: 'fast', pool: 'fast', fsType: 'xfs', isDefault: true },
        { name: 'thin', pool: 'thin' },
      ],
      metrics: { podMonitor: { enabled: true } },
    });
    expect(container(manifests, 'operator').image).toBe(`registry.example/aoe-csi@sha256:${'0'.repeat(64)}`);
    expect(container(manifests, 'operator').args.includes('--shelves=100-200')).toBeTruthy();
    for (const name of ['agent', 'csi-node']) expect(container(manifests, name).args.includes('--interfaces=eth1,eth2'), name).toBeTruthy();
    expect(container(manifests, 'csi-node').args.includes('--endpoint=unix:///var/lib/k0s/kubelet/plugins/aoe.dev/csi.sock')).toBeTruthy();
    expect(of(manifests, 'AoEPool', 'thin').spec).toStrictEqual({ backend: 'lvm-thin', volumeGroup: 'hdd', thinPool: 'thin' });
    expect(of(manifests, 'StorageClass', 'fast').parameters['csi.storage.k8s.io/fstype']).toBe('xfs');
    expect(container(manifests, 'target').volumeMounts.some((mount: Manifest) => mount.mountPath === '/srv/aoe')).toBeTruthy();
    const named = new Set(containers(manifests).flatMap(({ ports }) => (ports ?? []).map((port: Manifest) => port.name)));
    for (const { port } of of(manifests, 'PodMonitor').spec.podMetricsEndpoints) expect(named.has(port), port).toBe(true);
  });

  it('turn on leader election in the sidecars with the second replica', async () => {
    const one = await render();
    const two = await render({ controller: { replicas: 2 } });
    for (const name of ['csi-provisioner', 'csi-attacher']) {
      expect(container(one, name).args.includes('--leader-election'), name).toBeFalsy();
      expect(container(two, name).args.includes('--leader-election'), name).toBeTruthy();
    }
    expect(of(one, 'Deployment').spec.strategy.type).toBe('Recreate');
    expect(of(two, 'Deployment').spec.strategy.type).toBe('RollingUpdate');
  });

  const file = { name: 'a', backend: 'file' };
  const refused: [string, object, RegExp][] = [
    ['an unknown key', { interface: ['eth0'] }, /additional properties 'interface' not allowed/],
    [
      'an unknown key inside a pool',
      { pools: [{ ...file, directory: '/var/lib/aoe-csi/a', size: '1Gi' }] },
      /'\/pools\/0'.*'size' not allowed/,
    ],
    ['shelves that are not a range', { addresses: { shelves: 'seven' } }, /'\/addresses\/shelves'/],
    ['shelves the wrong way round', { addresses: { shelves: '9-3' } }, /addresses\.shelves: "9-3" is not a range of usable shelves/],
    ['shelves beyond the last', { addresses: { shelves: '1-65535' } }, /addresses\.shelves/],
    ['only the shelf that Linux refuses', { addresses: { shelves: '4095-4095' } }, /4095 alone cannot be used/],
    ['an unknown backend', { pools: [{ name: 'a', backend: 'zfs' }] }, /must be one of 'lvm', 'lvm-thin', 'file'/],
    ['a file pool without a directory', { pools: [file] }, /pools: a: backend file needs a directory/],
    ['a file pool that the pods cannot see', { pools: [{ ...file, directory: '/srv/a' }] }, /name it in storage\.directories/],
    ['a directory that only looks as if it were inside', { pools: [{ ...file, directory: '/var/lib/aoe-csi-2' }] }, /do not see/],
    ['an LVM pool without a volume group', { pools: [{ name: 'a', backend: 'lvm' }] }, /backend lvm needs a volumeGroup/],
    ['a thin pool without its name', { pools: [{ name: 'a', backend: 'lvm-thin', volumeGroup: 'v' }] }, /needs a thinPool/],
    ['two pools of one name', { pools: [1, 2].map(() => ({ name: 'a', backend: 'lvm', volumeGroup: 'v' })) }, /two pools of that name/],
    ['two default classes', { storageClasses: ['a', 'b'].map((name) => ({ name, isDefault: true })) }, /only one can be the default/],
    ['an unknown filesystem', { storageClasses: [{ name: 'a', fsType: 'btrfs' }] }, /must be one of 'ext4', 'xfs'/],
    ['a relative kubelet path', { kubeletPath: 'var/lib/kubelet' }, /'\/kubeletPath'/],
    ['an interface name that Linux cannot have', { interfaces: ['much-too-long-a-name'] }, /'\/interfaces\/0'/],
    ['no replica at all', { controller: { replicas: 0 } }, /'\/controller\/replicas': minimum/],
    ['a digest that is none', { image: { digest: 'latest' } }, /'\/image\/digest'/],
  ];
  for (const [what, values, message] of refused) {
    it(`are refused with ${what}`, async () => {
      await expect(render(values)).rejects.toThrow(message);
    });
  }
});

describe('the documentation of the chart', () => {
  it('lists every value in its README, and none that is not there', () => {
    const leaves = (value: unknown, path: string): string[] =>
      value !== null &&
      typeof value === 'object' &&
      !Array.isArray(value) &&
      Object.keys(value).length > 0 &&
      !/(resources|odeSelector)$/.test(path)
        ? Object.entries(value).flatMap(([key, inner]) => leaves(inner, path ? `${path}.${key}` : key))
        : [path];
    const values = leaves(parse(readFileSync(join(CHART, 'values.yaml'), 'utf8')), '');
    const listed = [...readFileSync(join(CHART, 'README.md'), 'utf8').matchAll(/^\| `([^`]+)`/gm)].map((match) => match[1] ?? '');
    expect(listed.toSorted()).toStrictEqual(values.toSorted());
  });
});
