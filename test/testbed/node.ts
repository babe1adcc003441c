import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { issue, PKI } from './certificates.ts';
import type { Guest } from './guest.ts';
import { KIT, PAUSE_IMAGE } from './kit.ts';
import { RUN } from './paths.ts';

/** containerd's configuration in a guest. Its root is on /dev/ubda, which has the images. */
export const CONTAINERD_CONFIG = `version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
`;

export const START_CONTAINERD = 'exec containerd -c /host/containerd.toml >/host/containerd.log 2>&1';
export const AWAIT_CONTAINERD = 'timeout 120 sh -c "until ctr version >/dev/null 2>&1; do sleep 0.1; done"';

function kubeletConfig(name: string): string {
  return `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: ${PKI}/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: ${PKI}/${name}-kubelet.crt
tlsPrivateKeyFile: ${PKI}/${name}-kubelet.key
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
failSwapOn: false
resolvConf: ""
evictionHard: {memory.available: "50Mi", nodefs.available: "1%", imagefs.available: "1%"}
nodeStatusUpdateFrequency: 1s
syncFrequency: 10s
imageGCHighThresholdPercent: 99
`;
}

function cniConfig(index: number): string {
  return JSON.stringify({
    cniVersion: '0.4.0',
    name: 'testbed',
    plugins: [
      {
        type: 'bridge',
        bridge: 'cni0',
        isGateway: true,
        ipMasq: false,
        ipam: {
          type: 'host-local',
          ranges: [[{ subnet: `10.244.${index}.0/24` }]],
          routes: [{ dst: '0.0.0.0/0' }],
          dataDir: '/run/cni-ipam',
        },
      },
    ],
  });
}

/** Starts containerd in a booted guest, its state and the kubelet's on /dev/ubda. `importScript` runs when it is up. */
export async function startContainerd(guest: Guest, importScript: string): Promise<void> {
  const { directory } = guest;
  writeFileSync(join(directory, 'containerd.toml'), CONTAINERD_CONFIG);
  writeFileSync(join(directory, '10-testbed.conflist'), cniConfig(guest.options.index));
  await guest.exec(`
    mount /dev/ubda /mnt
    mkdir -p /mnt/containerd /mnt/kubelet /mnt/pods /mnt/aoe-csi
    mkdir -p /var/lib/containerd /var/lib/kubelet /var/log/pods /var/lib/aoe-csi /etc/cni/net.d
    mount --bind /mnt/containerd /var/lib/containerd
    mount --bind /mnt/kubelet /var/lib/kubelet
    mount --make-rshared /var/lib/kubelet
    mount --bind /mnt/pods /var/log/pods
    mount --bind /mnt/aoe-csi /var/lib/aoe-csi
    cp /host/10-testbed.conflist /etc/cni/net.d/
    sysctl -qw net.ipv4.ip_forward=1
    modprobe -a bridge br_netfilter loop veth 8021q nf_conntrack xt_conntrack`);
  await guest.start(START_CONTAINERD);
  await guest.exec(`${AWAIT_CONTAINERD}\n${importScript}`, { timeoutMs: 240_000 });
}

/** Starts the kubelet, which makes the guest a node. */
export async function startKubelet(guest: Guest, labels: Record<string, string>): Promise<void> {
  const { name, ip, directory } = guest;
  issue(`${name}-kubelet`, `/O=system:nodes/CN=system:node:${name}`, `subjectAltName=DNS:${name},IP:${ip}`);
  writeFileSync(join(directory, 'kubelet.yaml'), kubeletConfig(name));
  const nodeLabels = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  await guest.start(
    `exec ${KIT}/kubelet --config=/host/kubelet.yaml --kubeconfig=${RUN}/${name}.kubeconfig --hostname-override=${name} --node-ip=${ip} \
       --root-dir=/var/lib/kubelet --node-labels=${nodeLabels.join(',')} --v=2 >/host/kubelet.log 2>&1`,
  );
}
