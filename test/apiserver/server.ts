import { type ChildProcess, spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { get } from 'node:https';
import { createServer, type ListenOptions, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { GROUP, VERSION } from '../../api/meta.ts';
import { customResourceDefinitions } from '../../api/schema/crds.ts';
import { CUSTOM_RESOURCE_DEFINITIONS } from '../../crds/upgrade.ts';
import { Kube, type KubeObject } from '../../kube/mod.ts';
import { KIT } from '../testbed/kit.ts';

const START_MS = 180_000;
const LOOK_MS = 50;

/** Why these tests cannot run here; undefined when they can. For the `skip` of a test. */
export const unavailable: string | undefined = existsSync(join(KIT, 'kube-apiserver'))
  ? undefined
  : 'the Kubernetes programs are not built: run test/testbed/kit/build';

/** A real API server with a real etcd and our CRDs, on free ports of the loopback interface, for one test file. */
export class ApiServer implements AsyncDisposable {
  readonly kubeconfig: string;
  /** Its files; tests may put theirs there, too. It is removed with the server. */
  readonly directory: string;
  readonly #audit: boolean;
  readonly #ports: { etcd: number; peer: number; api: number };
  #etcd: ChildProcess | undefined;
  #api: ChildProcess | undefined;

  private constructor(directory: string, ports: { etcd: number; peer: number; api: number }, audit: boolean) {
    this.directory = directory;
    this.#audit = audit;
    this.#ports = ports;
    this.kubeconfig = join(directory, 'kubeconfig');
  }

  /**
   * Takes some five seconds.
   * @param audit whether requests are written down, for {@link requests}
   * @throws Error that ends with the log of what did not start
   */
  static async start({ audit = false } = {}): Promise<ApiServer> {
    const directory = mkdtempSync(join(tmpdir(), 'apiserver-'));
    const [etcd, peer, api] = await freePorts(3);
    const server = new ApiServer(directory, { etcd: etcd ?? 0, peer: peer ?? 0, api: api ?? 0 }, audit);
    try {
      server.#prepare();
      server.startEtcd();
      await server.startApi();
      await server.#install();
    } catch (error) {
      await server.stop();
      throw error;
    }
    return server;
  }

  /** A new client, as administrator. */
  kube(): Kube {
    return Kube.fromKubeconfig(this.kubeconfig);
  }

  /** All requests so far about our objects and events, but watches and what is under way. */
  requests(): Requested[] {
    // The last line may be half written.
    const lines = readFileSync(join(this.directory, 'audit.log'), 'utf8').split('\n').slice(0, -1);
    return lines.flatMap((line) => {
      const { userAgent = '', verb, objectRef = {}, responseStatus = {}, requestReceivedTimestamp } = JSON.parse(line) as AuditEvent;
      if (verb === 'watch' || (objectRef.apiGroup !== 'aoe.dev' && objectRef.resource !== 'events')) return [];
      const resource = [objectRef.resource, objectRef.subresource].filter(Boolean).join('/');
      const what = `${userAgent.split('/')[0]} ${verb} ${resource} ${responseStatus.code}`;
      return [{ what, at: Date.parse(requestReceivedTimestamp) }];
    });
  }

  startEtcd(): void {
    const { etcd, peer } = this.#ports;
    const [client, peers] = [`http://127.0.0.1:${etcd}`, `http://127.0.0.1:${peer}`];
    this.#etcd = this.#spawn('etcd', [
      ...['--name=test', `--data-dir=${join(this.directory, 'etcd')}`, '--unsafe-no-fsync', '--log-level=warn'],
      ...[`--listen-client-urls=${client}`, `--advertise-client-urls=${client}`, `--listen-peer-urls=${peers}`],
      ...[`--initial-advertise-peer-urls=${peers}`, `--initial-cluster=test=${peers}`],
    ]);
  }

  /** Starts the API server, again after killApi(), and waits until it is ready. */
  async startApi(): Promise<void> {
    const at = (name: string) => join(this.directory, name);
    this.#api = this.#spawn('kube-apiserver', [
      ...[`--etcd-servers=http://127.0.0.1:${this.#ports.etcd}`, '--bind-address=127.0.0.1', `--secure-port=${this.#ports.api}`],
      // It would look for a default route, which a network namespace may lack. Nobody goes by the address.
      '--advertise-address=192.0.2.1',
      ...[`--cert-dir=${at('certificates')}`, `--token-auth-file=${at('tokens.csv')}`, '--authorization-mode=RBAC'],
      ...['--service-account-issuer=https://kubernetes.default.svc', '--service-cluster-ip-range=10.96.0.0/16'],
      ...(this.#audit ? [`--audit-policy-file=${at('audit.json')}`, `--audit-log-path=${at('audit.log')}`] : []),
      ...[`--service-account-key-file=${at('sa.pub')}`, `--service-account-signing-key-file=${at('sa.key')}`],
    ]);
    const limit = Date.now() + START_MS;
    while (!(await this.#isReady())) {
      if (this.#api.exitCode !== null || Date.now() > limit)
        throw new Error(`kube-apiserver did not start: ${this.#log('kube-apiserver')}`);
      await delay(LOOK_MS);
    }
  }

  /** Ends the API server as a crash would; etcd keeps the objects. */
  async killApi(): Promise<void> {
    await end(this.#api);
    this.#api = undefined;
  }

  /** SIGSTOP or SIGCONT to one of the two. */
  signal(part: 'api-server' | 'etcd', signal: 'SIGSTOP' | 'SIGCONT'): void {
    (part === 'etcd' ? this.#etcd : this.#api)?.kill(signal);
  }

  async stop(): Promise<void> {
    await Promise.all([end(this.#api), end(this.#etcd)]);
    rmSync(this.directory, { recursive: true, force: true });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #prepare(): void {
    const at = (name: string) => join(this.directory, name);
    mkdirSync(at('certificates'));
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    writeFileSync(at('sa.pub'), publicKey.export({ type: 'spki', format: 'pem' }));
    writeFileSync(at('sa.key'), privateKey.export({ type: 'pkcs8', format: 'pem' }));
    writeFileSync(at('tokens.csv'), 'admin-token,admin,1,"system:masters"\n');
    const policy = { apiVersion: 'audit.k8s.io/v1', kind: 'Policy', omitStages: ['RequestReceived'], rules: [{ level: 'Metadata' }] };
    writeFileSync(at('audit.json'), JSON.stringify(policy));
    writeFileSync(this.kubeconfig, this.kubeconfigText('admin-token'));
  }

  /** A kubeconfig for whoever has this token. */
  kubeconfigText(token: string): string {
    const cluster = `{name: test, cluster: {server: "https://127.0.0.1:${this.#ports.api}", insecure-skip-tls-verify: true}}`;
    return `apiVersion: v1
kind: Config
clusters: [${cluster}]
users: [{name: user, user: {token: ${token}}}]
contexts: [{name: test, context: {cluster: test, user: user}}]
current-context: test
`;
  }

  async #isReady(): Promise<boolean> {
    try {
      await this.kube().list(CUSTOM_RESOURCE_DEFINITIONS, { signal: AbortSignal.timeout(5_000) });
      return true;
    } catch {
      return false;
    }
  }

  /** Installs the CRDs and waits until their resources are served. */
  async #install(): Promise<void> {
    const kube = this.kube();
    const definitions = customResourceDefinitions() as unknown as (KubeObject & { spec: { names: { plural: string; kind: string } } })[];
    await Promise.all(definitions.map((definition) => kube.create(CUSTOM_RESOURCE_DEFINITIONS, definition)));
    const limit = Date.now() + START_MS;
    const until = async (isThere: () => Promise<boolean>, what: string): Promise<void> => {
      for (;;) {
        const seen = await isThere().catch((error: unknown) => error);
        if (seen === true) return;
        if (Date.now() > limit) throw new Error(`the API server does not ${what}: ${String(seen)}\n${this.#log('kube-apiserver')}`);
        await delay(LOOK_MS);
      }
    };
    for (const { spec } of definitions) {
      const { plural, kind } = spec.names;
      const list = () => kube.list({ group: GROUP, version: VERSION, plural, kind, namespaced: false });
      await until(async () => Boolean(await list()), `serve ${plural}`);
      await until(async () => (await this.#resources()).includes(`"${plural}"`), `name ${plural} among its resources`);
    }
  }

  /** What it says to kubectl about our resources: JSON. */
  async #resources(): Promise<string> {
    const options = { rejectUnauthorized: false, agent: false, headers: { authorization: 'Bearer admin-token' }, timeout: 10_000 };
    const request = get(`https://127.0.0.1:${this.#ports.api}/apis/${GROUP}/${VERSION}`, options);
    request.once('timeout', () => request.destroy(new Error('no answer')));
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    return await text(response);
  }

  #spawn(name: string, args: string[]): ChildProcess {
    const log = openSync(join(this.directory, `${name}.log`), 'a');
    // The kernel ends it when this process dies, however that comes about.
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', join(KIT, name), ...args], {
      stdio: ['ignore', log, log],
      cwd: this.directory,
    });
    // A test that dies takes them with it.
    const kill = () => child.kill('SIGKILL');
    process.once('exit', kill);
    child.once('exit', () => process.removeListener('exit', kill));
    return child;
  }

  #log(name: string): string {
    return readFileSync(join(this.directory, `${name}.log`), 'utf8').slice(-2_000);
  }
}

/**
 * A server and a client for all tests of the `describe` that calls this; both end with it.
 * @param onStart gets them before the first test
 * @param onEnd ends what uses them, after the last test
 */
export function serveTests(
  onStart: (started: { server: ApiServer; kube: Kube }) => void | Promise<void>,
  onEnd: () => Promise<void> = async () => {},
): void {
  let server: ApiServer | undefined;
  let kube: Kube | undefined;
  beforeAll(async () => {
    server = await ApiServer.start();
    kube = server.kube();
    await onStart({ server, kube });
  });
  afterAll(async () => {
    try {
      await onEnd();
    } finally {
      kube?.close();
      await server?.stop();
    }
  });
}

/** A request that the server has answered. */
export interface Requested {
  /** `PROGRAM VERB RESOURCE CODE`. */
  readonly what: string;
  /** When it came, in milliseconds since 1970. */
  readonly at: number;
}

interface AuditEvent {
  requestReceivedTimestamp: string;
  userAgent?: string;
  verb: string;
  objectRef?: { apiGroup?: string; resource?: string; subresource?: string };
  responseStatus?: { code?: number };
}

async function end(child: ChildProcess | undefined): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

/** Below those that the kernel gives to connections, and to programs that listen on any (ip_local_port_range in ip-sysctl). */
const PORTS = { first: 20_000, count: 10_000 };

/**
 * Ports of the loopback interface that nobody listens on, for this process until it ends. That a port is free now is not enough: its program
 * listens on it some seconds later, and meanwhile a connection, or another test, could get it.
 */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) {
    const port = PORTS.first + Math.floor(Math.random() * PORTS.count);
    // The kernel frees an abstract name when the process ends, however that comes about.
    if (!(await listening({ path: `\0aoe-csi-test-port-${port}` }))) continue;
    const server = await listening({ port, host: '127.0.0.1' });
    if (!server) continue;
    await new Promise((resolve) => server.close(resolve));
    ports.push(port);
  }
  return ports;
}

/** A server there that keeps no process alive; undefined when somebody else has the place. */
async function listening(where: ListenOptions): Promise<Server | undefined> {
  const server = createServer().unref();
  try {
    await once(server.listen(where), 'listening');
    return server;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return undefined;
    throw error;
  }
}
