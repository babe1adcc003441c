import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Script } from 'node:vm';
import { customResourceDefinitions } from '../../api/schema/crds.ts';
import { DELETE_DATA, TAKEN_FROM } from '../../api/volume.ts';
import {
  CHART,
  container,
  containers,
  helpOf,
  kitProgram,
  lint,
  type Manifest,
  of,
  podSpecs,
  render,
  renderParent,
  SIDECARS,
  SNAPSHOT_API,
} from './helm.ts';

const byName = (a: Manifest, b: Manifest) => a.metadata.name.localeCompare(b.metadata.name);

describe('the chart with its defaults, where the cluster has the CRDs of snapshots', () => {
  let manifests: Manifest[];
  beforeAll(async () => {
    manifests = await render({}, { apis: SNAPSHOT_API });
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
    expect(spec.containers.length).toBe(6);
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
    const bound = manifests.filter(({ kind }) => /RoleBinding$/.test(kind)).flatMap(({ subjects }) => subjects);
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
    for (const { roleRef, subjects } of manifests.filter(({ kind }) => /RoleBinding$/.test(kind))) {
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

  it('probes every program of ours that has an HTTP port, by the port in its arguments', () => {
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
    expect(spec.seLinuxMount).toBe(true);
  });

  it('lets the kubelet ask how many volumes a node can have, where Kubernetes can', async () => {
    const period = async (kubeVersion: string) =>
      of(await render({}, { kubeVersion }), 'CSIDriver').spec.nodeAllocatableUpdatePeriodSeconds;
    expect(await period('1.33.5')).toBeUndefined();
    expect(await period('1.34.0')).toBe(60);
  });

  it('keeps pods off nodes whose plugin is not registered, where Kubernetes can', async () => {
    const required = async (version: string, values: object = {}) =>
      of(await render(values, { kubeVersion: version }), 'CSIDriver').spec.preventPodSchedulingIfMissing;
    expect(await required('1.36.3')).toBeUndefined();
    expect(await required('1.37.0')).toBe(true);
    expect(await required('1.37.0', { node: { preventPodSchedulingIfMissing: false } })).toBeUndefined();
  });

  it('keeps pools on uninstall, and makes no class the default unasked', () => {
    expect(of(manifests, 'AoEPool').metadata.annotations['helm.sh/resource-policy']).toBe('keep');
    expect(of(manifests, 'StorageClass').metadata.annotations).toBeUndefined();
  });

  it('gives the sidecars only flags that they know', async () => {
    const two = await render({ controller: { replicas: 2 } }, { apis: SNAPSHOT_API });
    for (const name of SIDECARS) {
      const help = await helpOf(kitProgram(name));
      for (const argument of container(two, name).args) {
        const flag = argument.replace(/^-+/, '').split('=')[0];
        expect(help, `${name} does not know --${flag}`).toMatch(new RegExp(`^ +-{1,2}${flag}\\b`, 'm'));
      }
    }
  });

  it('gives a program two minutes without CPU time before it is restarted, and no more than three', () => {
    for (const { name, livenessProbe, startupProbe } of containers(manifests)) {
      if (!livenessProbe) continue;
      const { periodSeconds, timeoutSeconds, failureThreshold } = livenessProbe;
      // At once after an answer comes the last moment at which all may stop: the next probe starts a period later at most.
      const soonest = (failureThreshold - 1) * periodSeconds;
      const latest = (failureThreshold + 1) * Math.max(periodSeconds, timeoutSeconds);
      expect(soonest, `${name}: ${soonest} to ${latest} s`).toBeGreaterThanOrEqual(120);
      expect(latest, `${name}: ${soonest} to ${latest} s`).toBeLessThanOrEqual(180);
      expect(startupProbe.failureThreshold * startupProbe.periodSeconds, name).toBeGreaterThanOrEqual(300);
      expect(startupProbe.httpGet, name).toStrictEqual(livenessProbe.httpGet);
    }
  });

  it('asks no directory of a node to be there that the node could lack', () => {
    // A hostPath of type Directory that is missing keeps the whole pod down.
    const paths: string[] = podSpecs(manifests)
      .flatMap((spec) => spec.volumes ?? [])
      .filter((volume: Manifest) => volume.hostPath?.type === 'Directory')
      .map((volume: Manifest) => volume.hostPath.path);
    expect([...new Set(paths)].toSorted()).toStrictEqual(['/dev', '/var/lib/kubelet']);
  });

  it("shows modprobe the node's own options", () => {
    const { volumeMounts } = container(manifests, 'csi-node');
    expect(volumeMounts.find((mount: Manifest) => mount.mountPath === '/etc/modprobe.d').readOnly).toBe(true);
    expect(volumeMounts.find((mount: Manifest) => mount.mountPath === '/lib/modules').readOnly).toBe(true);
  });

  it('makes no network policy unasked', () => {
    expect(manifests.find(({ kind }) => kind === 'NetworkPolicy')).toBeUndefined();
  });

  it('brings the CRDs of the cluster up to date before an upgrade or another installation, with rights to its own only', async () => {
    const job = of(manifests, 'Job', 'aoe-csi-crds');
    expect(job.metadata.annotations['helm.sh/hook']).toBe('pre-install,pre-upgrade');
    const names = of(manifests, 'ClusterRole', 'aoe-csi-crds').rules[0].resourceNames;
    const definitions = Object.values(of(manifests, 'ConfigMap', 'aoe-csi-crds').data).map((json) => JSON.parse(String(json)));
    expect(definitions.map(({ metadata }) => metadata.name)).toStrictEqual([...names]);
    expect(definitions).toStrictEqual(customResourceDefinitions().toSorted(byName));
    expect((await render({ crds: { upgrade: false } })).filter(({ metadata }) => metadata.name === 'aoe-csi-crds')).toStrictEqual([]);
  });

  it('limits what is written with the tokens of nodes: exactly those of the programs that run there', () => {
    const { spec } = of(manifests, 'ValidatingAdmissionPolicy', 'aoe-csi-nodes');
    expect(spec.failurePolicy).toBe('Fail');
    for (const account of ['aoe-csi-agent', 'aoe-csi-node'])
      expect(spec.matchConditions[0].expression).toMatch(`system:serviceaccount:aoe:${account}'`);
    const binding = of(manifests, 'ValidatingAdmissionPolicyBinding', 'aoe-csi-nodes').spec;
    expect(binding).toStrictEqual({ policyName: 'aoe-csi-nodes', validationActions: ['Deny'] });
    // What each rule says of a write is in test/apiserver/node-policy.test.ts. Each of these must be compared with what was there.
    const rules = spec.validations.map(({ expression }: Manifest) => expression);
    for (const part of ['ownerReferences', 'labels', `annotations[?'${TAKEN_FROM}']`, `annotations[?'${DELETE_DATA}']`])
      expect(rules.some((rule: string) => rule.includes(`object.metadata.?${part} == oldObject.metadata.?${part}`))).toBe(true);
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
        { name: 'fast', backend: 'lvm', volumeGroup: 'nvme', wipe: 'Ends', nodeSelector: { disk: 'nvme' } },
        { name: 'thin', backend: 'lvm-thin', volumeGroup: 'hdd', thinPool: 'thin' },
        { name: 'files', backend: 'file', directory: '/srv/aoe/files' },
      ],
      storage: { directories: ['/srv/aoe'] },
      storageClasses: [
        { name: 'fast', pool: 'fast', fsType: 'xfs', isDefault: true },
        { name: 'thin', pool: 'thin' },
      ],
      controller: { snapshotter: { enabled: true } },
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

  it('make storage directories where they are missing, and name them to the agent', async () => {
    const manifests = await render({ storage: { directories: ['/mnt/a', '/mnt/b'] } });
    for (const name of ['aoe-csi-agent', 'aoe-csi-target']) {
      const { volumes } = of(manifests, 'DaemonSet', name).spec.template.spec;
      const { hostPath } = volumes.find((volume: Manifest) => volume.hostPath?.path === '/mnt/b');
      expect(hostPath.type, name).toBe('DirectoryOrCreate');
    }
    expect(container(manifests, 'agent').args.includes('--mount-points=/mnt/a,/mnt/b')).toBeTruthy();
    expect(container(await render(), 'agent').args.some((argument: string) => argument.startsWith('--mount-points'))).toBeFalsy();
  });

  it('set parameters and directory of the kernel module', async () => {
    const manifests = await render({ node: { module: { path: '/usr/lib/modules', parameters: { aoe_maxout: 32, aoe_deadsecs: 0 } } } });
    expect(container(manifests, 'csi-node').args.includes('--module-parameters=aoe_deadsecs=0,aoe_maxout=32')).toBeTruthy();
    const { volumes } = of(manifests, 'DaemonSet', 'aoe-csi-node').spec.template.spec;
    expect(volumes.some((volume: Manifest) => volume.hostPath.path === '/usr/lib/modules')).toBeTruthy();
    const options = async (optionsPath: string): Promise<Manifest> =>
      of(await render({ node: { module: { optionsPath } } }), 'DaemonSet', 'aoe-csi-node').spec.template.spec;
    expect(JSON.stringify(await options(''))).not.toContain('modprobe');
    expect((await options('/usr/lib/modprobe.d')).volumes).toContainEqual({
      name: 'modprobe',
      hostPath: { path: '/usr/lib/modprobe.d', type: 'DirectoryOrCreate' },
    });
  });

  it('add arguments and environment to every program', async () => {
    const more = { extraArgs: ['--more=1'], extraEnv: [{ name: 'MORE', value: '1' }] };
    const manifests = await render({
      controller: { operator: more, csi: more, provisioner: more, attacher: more, resizer: more, snapshotter: { ...more, enabled: true } },
      node: more,
      storage: { agent: more, target: more },
      crds: more,
    });
    for (const { name, args, env } of containers(manifests)) {
      if (name === 'test') continue;
      expect(args.at(-1), name).toBe('--more=1');
      expect(env.at(-1), name).toStrictEqual({ name: 'MORE', value: '1' });
    }
  });

  it("set the limits of the sidecars, and the ports on the node's network", async () => {
    const manifests = await render({
      controller: { attacher: { workerThreads: 7, kubeAPI: { qps: 8, burst: 9 } } },
      node: { httpPort: 19810 },
      storage: { agent: { httpPort: 19811 } },
    });
    for (const flag of ['--worker-threads=7', '--kube-api-qps=8', '--kube-api-burst=9'])
      expect(container(manifests, 'csi-attacher').args.includes(flag), flag).toBeTruthy();
    expect(container(manifests, 'csi-provisioner').args.includes('--kube-api-qps=100')).toBeTruthy();
    for (const [name, port] of Object.entries({ 'csi-node': 19810, agent: 19811 })) {
      expect(container(manifests, name).args.includes(`--http=:${port}`), name).toBeTruthy();
      expect(container(manifests, name).ports[0].containerPort).toBe(port);
    }
  });

  it('let claims grow, or not', async () => {
    const storageClasses = [{ name: 'fixed', pool: 'default', allowVolumeExpansion: false }, { name: 'plain' }];
    const manifests = await render({ controller: { resizer: { enabled: false } }, storageClasses });
    expect(containers(manifests).some(({ name }) => name === 'csi-resizer')).toBe(false);
    for (const [name, may] of Object.entries({ fixed: false, plain: true }))
      expect(of(manifests, 'StorageClass', name).allowVolumeExpansion).toBe(may);
  });

  it('make a class whose volumes are encrypted, with the Secret for both calls that need it', async () => {
    const encryptionSecret = { name: 'key', namespace: 'keys' };
    const manifests = await render({ storageClasses: [{ name: 'secret', encryptionSecret }, { name: 'plain' }] });
    expect(of(manifests, 'StorageClass', 'secret').parameters).toMatchObject({
      encrypted: 'true',
      'csi.storage.k8s.io/node-stage-secret-name': 'key',
      'csi.storage.k8s.io/node-publish-secret-namespace': 'keys',
    });
    expect(of(manifests, 'StorageClass', 'plain').parameters.encrypted).toBeUndefined();
    expect(of(manifests, 'StorageClass', 'secret').allowVolumeExpansion).toBe(true);
    const authenticated = await render({ storageClasses: [{ name: 'a', encryptionSecret, authenticatedEncryption: true }] });
    expect(of(authenticated, 'StorageClass', 'a').parameters.encrypted).toBe('authenticated');
    expect(of(authenticated, 'StorageClass', 'a').allowVolumeExpansion).toBe(false);
  });

  it('give pull secrets to every pod', async () => {
    const specs = podSpecs(await render({ imagePullSecrets: [{ name: 'pull' }] }));
    expect(specs).toHaveLength(6);
    for (const spec of specs) expect(spec.imagePullSecrets, spec.serviceAccountName).toStrictEqual([{ name: 'pull' }]);
  });
});

describe('the chart as a part of another', () => {
  it('is rendered when its condition is true, and not when it is false', async () => {
    const global = { imageRegistry: 'registry.example' };
    const manifests = await renderParent({ global, 'aoe-csi': { enabled: true, controller: { replicas: 2 } } });
    expect(of(manifests, 'Deployment', 'aoe-csi-controller').spec.replicas).toBe(2);
    expect(await renderParent({ global, 'aoe-csi': { enabled: false } })).toStrictEqual([]);
  });

  it('refuses values as strictly as by itself', async () => {
    await expect(renderParent({ 'aoe-csi': { enabled: true, enable: true } })).rejects.toThrow(
      /additional properties 'enable' not allowed/,
    );
    await expect(renderParent({ 'aoe-csi': { enabled: 1 } })).rejects.toThrow(/'\/enabled'/);
  });
});
