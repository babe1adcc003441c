import { containers, type Manifest, of, render } from './helm.ts';

const sidecar = { name: 'external-snapshot-metadata', image: 'sidecar:1', volumeMounts: [{ name: 'socket', mountPath: '/csi' }] };
const ON = {
  controller: { snapshotMetadata: { enabled: true, containers: [sidecar], volumes: [{ name: 'tls', secret: { secretName: 'tls' } }] } },
};

const argsOf = (manifests: Manifest[], name: string): string[] => containers(manifests).find((each) => each.name === name)?.args ?? [];
const podOf = (manifests: Manifest[]) => of(manifests, 'Deployment', 'aoe-csi-controller').spec.template.spec;

describe('the SnapshotMetadata service in the chart', () => {
  it('is off by default: no port, no token, no right, and no container', async () => {
    const { containers: others, volumes } = ON.controller.snapshotMetadata;
    const manifests = await render({ controller: { snapshotMetadata: { containers: others, volumes } } });
    const traces = JSON.stringify(manifests).match(
      /--blocks-\w+|"name":"blocks"|agent-token|tokenreviews|external-snapshot-metadata|"tls"/g,
    );
    expect(traces).toBeNull();
  });

  it('is turned on at both ends, and has a token for agents that only the CSI controller can read', async () => {
    const manifests = await render({ ...ON, storage: { agent: { blocksPort: 7000 } } });
    const user = 'system:serviceaccount:aoe:aoe-csi-controller';
    expect(argsOf(manifests, 'agent')).toStrictEqual(expect.arrayContaining(['--blocks-listen=:7000', `--blocks-user=${user}`]));
    expect(argsOf(manifests, 'csi-controller')).toContain('--agent-token=/var/run/secrets/aoe.dev/agent/token');
    const token = podOf(manifests).volumes.find(({ name }: Manifest) => name === 'agent-token');
    expect(token.projected.sources).toStrictEqual([
      { serviceAccountToken: { path: 'token', audience: 'aoe.dev/agent', expirationSeconds: 3600 } },
    ]);
    const mounting = podOf(manifests).containers.filter((each: Manifest) =>
      each.volumeMounts?.some(({ name }: Manifest) => name === 'agent-token'),
    );
    expect(mounting.map(({ name }: Manifest) => name)).toStrictEqual(['csi-controller']);
    expect(of(manifests, 'ClusterRole', 'aoe-csi-agent').rules).toContainEqual({
      apiGroups: ['authentication.k8s.io'],
      resources: ['tokenreviews'],
      verbs: ['create'],
    });
  });

  it('takes the sidecar into the pod, and lets its port be reached', async () => {
    const manifests = await render({ ...ON, networkPolicy: { enabled: true, from: [{ podSelector: {} }] } });
    expect(podOf(manifests).containers.at(-1)).toStrictEqual(sidecar);
    expect(podOf(manifests).volumes.map(({ name }: Manifest) => name)).toStrictEqual(['socket', 'agent-token', 'tls']);
    const { ingress } = of(manifests, 'NetworkPolicy', 'aoe-csi-controller').spec;
    expect(ingress[1]).toStrictEqual({ ports: [{ protocol: 'TCP', port: 50051 }] });
  });
});
