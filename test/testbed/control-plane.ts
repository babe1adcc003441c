import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { PKI } from './certificates.ts';
import { KIT, SNAPSHOT_CRDS } from './kit.ts';
import { CONTROL_PLANE_IP, RUN, SHM } from './paths.ts';
import { isAlive, startInNetns } from './process/processes.ts';
import { poll, runInNetns, sh } from './process/shell.ts';

const LOGS = join(RUN, 'logs');

function start(name: string, args: string[]) {
  mkdirSync(LOGS, { recursive: true });
  return startInNetns(join(KIT, name), args, { log: join(LOGS, `${name}.log`) });
}

/** GETs a URL in the cluster's network, as admin. */
function get(url: string): Promise<string> {
  return runInNetns('curl', ['-sk', '--max-time', '2', '-H', 'Authorization: Bearer admin-token', url]).catch(() => '');
}

function waitHealthy(name: string, pid: number | undefined, url: string): Promise<true> {
  return poll(
    async () => {
      if (pid !== undefined && !isAlive(pid)) throw new Error(`${name} ended`);
      return (await get(url)) === 'ok' ? true : undefined;
    },
    { timeoutMs: 60_000, what: `${name} to be healthy`, intervalMs: 50, explain: () => sh(`tail -n 5 '${LOGS}/${name}.log'`) },
  );
}

export function startEtcd(): void {
  start('etcd', [
    ...['--name', 'testbed', '--data-dir', join(SHM, 'etcd'), '--unsafe-no-fsync', '--log-level', 'warn'],
    ...['--listen-client-urls', 'http://127.0.0.1:2379', '--advertise-client-urls', 'http://127.0.0.1:2379'],
    ...['--listen-peer-urls', 'http://127.0.0.1:2380', '--initial-advertise-peer-urls', 'http://127.0.0.1:2380'],
    ...['--initial-cluster', 'testbed=http://127.0.0.1:2380'],
  ]);
}

/** Starts the API server and waits until it is ready. */
export async function startApiServer(): Promise<void> {
  const { pid } = start('kube-apiserver', [
    '--etcd-servers=http://127.0.0.1:2379',
    ...['--bind-address=0.0.0.0', '--secure-port=443', `--advertise-address=${CONTROL_PLANE_IP}`],
    ...[`--tls-cert-file=${PKI}/apiserver.crt`, `--tls-private-key-file=${PKI}/apiserver.key`, `--client-ca-file=${PKI}/ca.crt`],
    ...[`--token-auth-file=${PKI}/tokens.csv`, '--authorization-mode=Node,RBAC', '--enable-admission-plugins=NodeRestriction'],
    ...['--service-cluster-ip-range=10.96.0.0/16', '--allow-privileged=true', '--service-account-issuer=https://kubernetes.default.svc'],
    ...[`--service-account-key-file=${PKI}/sa.pub`, `--service-account-signing-key-file=${PKI}/sa.key`],
    ...[`--kubelet-client-certificate=${PKI}/kubelet-client.crt`, `--kubelet-client-key=${PKI}/kubelet-client.key`],
    ...[`--kubelet-certificate-authority=${PKI}/ca.crt`, '--kubelet-preferred-address-types=InternalIP'],
  ]);
  await waitHealthy('kube-apiserver', pid, `https://${CONTROL_PLANE_IP}/readyz`);
}

/** Starts controller manager and scheduler. The API server must be ready: the former gives up when RBAC is not there yet. */
export async function startControllers(): Promise<void> {
  const manager = start('kube-controller-manager', [
    ...['kubeconfig', 'authentication-kubeconfig', 'authorization-kubeconfig'].map(
      (flag) => `--${flag}=${RUN}/controller-manager.kubeconfig`,
    ),
    ...['--use-service-account-credentials', `--service-account-private-key-file=${PKI}/sa.key`, `--root-ca-file=${PKI}/ca.crt`],
    ...['--bind-address=127.0.0.1', '--leader-elect=false', '--controllers=*,-nodeipam', '--node-monitor-grace-period=20s'],
  ]);
  const scheduler = start('kube-scheduler', [
    ...['kubeconfig', 'authentication-kubeconfig', 'authorization-kubeconfig'].map((flag) => `--${flag}=${RUN}/scheduler.kubeconfig`),
    ...['--bind-address=127.0.0.1', '--leader-elect=false'],
  ]);
  await Promise.all([
    waitHealthy('kube-controller-manager', manager.pid, 'https://127.0.0.1:10257/healthz'),
    waitHealthy('kube-scheduler', scheduler.pid, 'https://127.0.0.1:10259/healthz'),
  ]);
}

/** Installs the CRDs of snapshots and starts their controller, as a distribution of Kubernetes does. The API server must be ready. */
export async function startSnapshotController(): Promise<void> {
  const kubeconfig = `--kubeconfig=${RUN}/admin.kubeconfig`;
  await runInNetns(join(KIT, 'kubectl'), [kubeconfig, 'apply', '-f', SNAPSHOT_CRDS]);
  start('snapshot-controller', [kubeconfig, '--kube-api-qps=100', '--kube-api-burst=200']);
}
