import { container, type Manifest, of, render, SIDECARS, SNAPSHOT_API } from './helm.ts';

describe('values of the controller', () => {
  it('turn on leader election in the sidecars with the second replica', async () => {
    const one = await render({}, { apis: SNAPSHOT_API });
    const two = await render({ controller: { replicas: 2 } }, { apis: SNAPSHOT_API });
    for (const name of SIDECARS) {
      expect(container(one, name).args.includes('--leader-election'), name).toBeFalsy();
      expect(container(two, name).args.includes('--leader-election'), name).toBeTruthy();
    }
    expect(of(one, 'Deployment').spec.strategy.type).toBe('Recreate');
    expect(of(two, 'Deployment').spec.strategy.type).toBe('RollingUpdate');
  });

  it('prefer different nodes for the replicas of the controller, unless told otherwise', async () => {
    const affinity = async (controller: object): Promise<Manifest> =>
      of(await render({ controller }), 'Deployment', 'aoe-csi-controller').spec.template.spec.affinity;
    const [term] = (await affinity({ replicas: 2 })).podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution;
    expect(term.podAffinityTerm.topologyKey).toBe('kubernetes.io/hostname');
    const { labels } = of(await render(), 'Deployment', 'aoe-csi-controller').spec.template.metadata;
    for (const [key, value] of Object.entries(term.podAffinityTerm.labelSelector.matchLabels)) expect(labels[key]).toBe(value);
    expect(await affinity({ replicas: 1 })).toBeUndefined();
    const own = { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [] } } };
    expect(await affinity({ replicas: 2, affinity: own })).toStrictEqual(own);
  });

  it('let claims have VolumeAttributesClasses where Kubernetes has them', async () => {
    for (const [kubeVersion, has] of [
      ['1.33.0', false],
      ['1.34.0-rc.1', true],
      ['1.37.0', true],
    ] as const) {
      const { args } = container(await render({}, { kubeVersion }), 'csi-resizer');
      expect(args.filter((arg: string) => arg.includes('feature-gates'))).toStrictEqual([`--feature-gates=VolumeAttributesClass=${has}`]);
    }
  });

  it('limit who reaches the controller', async () => {
    const from = [{ podSelector: {} }];
    for (const enabled of [true, false]) {
      const controller = { resizer: { enabled }, snapshotter: { enabled } };
      const manifests = await render({ controller, networkPolicy: { enabled: true, from } });
      const { podSelector, ingress } = of(manifests, 'NetworkPolicy').spec;
      const { template } = of(manifests, 'Deployment', 'aoe-csi-controller').spec;
      for (const [key, value] of Object.entries(podSelector.matchLabels)) expect(template.metadata.labels[key]).toBe(value);
      const ports = template.spec.containers.flatMap((one: Manifest) => one.ports).map((port: Manifest) => port.name);
      expect(ingress[0].ports.map(({ port }: Manifest) => port)).toStrictEqual(ports);
      expect(ingress[0].from).toStrictEqual(from);
    }
  });
});
