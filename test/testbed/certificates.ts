import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CONTROL_PLANE_IP, RUN, SERVICE_IP } from './paths.ts';
import { sh } from './process/shell.ts';

export const PKI = join(RUN, 'pki');

/** Issues a certificate of the cluster's authority as NAME.crt and NAME.key. */
export function issue(name: string, subject: string, extension: string): void {
  sh(`cd '${PKI}'
    openssl ecparam -name prime256v1 -genkey -noout -out ${name}.key
    openssl req -new -key ${name}.key -subj '${subject}' -out ${name}.csr 2>/dev/null
    openssl x509 -req -in ${name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 -out ${name}.crt -extfile <(echo '${extension}') 2>/dev/null`);
}

/** A kubeconfig with a static token, as PATH. */
export function writeKubeconfig(path: string, token: string): void {
  writeFileSync(
    path,
    `apiVersion: v1
kind: Config
clusters: [{name: testbed, cluster: {server: "https://${CONTROL_PLANE_IP}:443", certificate-authority: ${PKI}/ca.crt}}]
users: [{name: me, user: {token: ${token}}}]
contexts: [{name: testbed, context: {cluster: testbed, user: me}}]
current-context: testbed
`,
  );
}

/** Makes the authority, the control plane's certificates and tokens, and the kubeconfigs of RUN. */
export function makeCertificates(nodes: string[]): void {
  mkdirSync(PKI, { recursive: true });
  sh(`cd '${PKI}'
    openssl ecparam -name prime256v1 -genkey -noout -out ca.key
    openssl req -x509 -new -key ca.key -subj /CN=testbed -days 365 -out ca.crt -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature 2>/dev/null
    openssl ecparam -name prime256v1 -genkey -noout -out sa.key
    openssl ec -in sa.key -pubout -out sa.pub 2>/dev/null`);
  issue(
    'apiserver',
    '/CN=kube-apiserver',
    `subjectAltName=DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:${CONTROL_PLANE_IP},IP:${SERVICE_IP}`,
  );
  issue('kubelet-client', '/O=system:masters/CN=apiserver-kubelet-client', 'extendedKeyUsage=clientAuth');
  const users: [string, string, string?][] = [
    ['admin', 'admin', 'system:masters'],
    ['controller-manager', 'system:kube-controller-manager'],
    ['scheduler', 'system:kube-scheduler'],
    ...nodes.map((node): [string, string, string] => [node, `system:node:${node}`, 'system:nodes']),
  ];
  writeFileSync(
    join(PKI, 'tokens.csv'),
    users.map(([name, user, group], i) => `${name}-token,${user},u${i}${group ? `,"${group}"` : ''}\n`).join(''),
  );
  for (const [name] of users) writeKubeconfig(join(RUN, `${name}.kubeconfig`), `${name}-token`);
}
