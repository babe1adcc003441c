import { existsSync } from 'node:fs';
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent, type RequestOptions } from 'node:https';
import { KubeConfig } from '@kubernetes/client-node';

const TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount/token';
const NO_CLUSTER = 'no API server is configured: run in a pod with a service account, set KUBECONFIG, or give --kubeconfig';
/** Idle connections are closed after this, in milliseconds: before the API server does so, after 90 s. */
const IDLE_MS = 60_000;
/** Connections at a time; further requests wait for one. */
const MAX_SOCKETS = 24;

/** What one request needs to reach the API server, and to authenticate. */
export interface Access {
  agent: HttpAgent | HttpsAgent;
  headers: Record<string, string>;
}

interface Material {
  ca?: unknown;
  cert?: unknown;
  key?: unknown;
  pfx?: unknown;
  passphrase?: unknown;
  rejectUnauthorized?: boolean | undefined;
  servername?: string | undefined;
}

/**
 * The account to use and the API server's address. Tokens and certificates in files are read again when they rotate,
 * and tokens when the server refuses them. Connections stay open between requests.
 */
export class Credentials {
  #config: KubeConfig;
  readonly server: URL;
  #material: Material = {};
  #agents: { requests: HttpAgent; others: HttpAgent } | undefined;

  private constructor(config: KubeConfig) {
    const cluster = config.getCurrentCluster();
    if (!cluster) throw new Error(NO_CLUSTER);
    this.#config = config;
    this.server = new URL(cluster.server);
  }

  /** The pod's service account; without one, the file that KUBECONFIG names, or ~/.kube/config. */
  static fromCluster(): Credentials {
    const config = new KubeConfig();
    if (existsSync(TOKEN)) config.loadFromCluster();
    // A service account has the API server's address from environment variables, which may be missing.
    const server = config.getCurrentContext() === undefined ? undefined : config.getCurrentCluster()?.server;
    if (!server || server.includes('//undefined')) config.loadFromDefault();
    // The library's default when it finds no configuration.
    if (config.getCurrentCluster()?.server === 'http://localhost:8080') throw new Error(NO_CLUSTER);
    return new Credentials(config);
  }

  static fromKubeconfig(path: string): Credentials {
    const config = new KubeConfig();
    config.loadFromFile(path);
    return new Credentials(config);
  }

  /** A server without authentication, for tests. */
  static fromUrl(server: string): Credentials {
    const config = new KubeConfig();
    config.loadFromClusterAndUser({ name: 'test', server, skipTLSVerify: true }, { name: 'test' });
    return new Credentials(config);
  }

  /** @param apart uses connections apart from those of other requests: for a watch, which keeps its connection, and for leases */
  async access(apart: boolean): Promise<Access> {
    const options: RequestOptions = {};
    await this.#config.applyToHTTPSOptions(options);
    const headers = { ...(options.headers as Record<string, string> | undefined) };
    if (typeof options.auth === 'string') headers.Authorization = `Basic ${Buffer.from(options.auth).toString('base64')}`;
    if (this.#config.getCurrentCluster()?.proxyUrl && options.agent) return { agent: options.agent as HttpAgent, headers };
    const { requests, others } = this.#agentsFor(options);
    return { agent: apart ? others : requests, headers };
  }

  /**
   * The server has refused a token: for the next request it is read again. The library does so by the time of day, and not for long when
   * that was set back.
   */
  renew(): void {
    const fresh = new KubeConfig();
    fresh.loadFromOptions(this.#config);
    this.#config = fresh;
  }

  /** Closes idle connections: when a request on one got no answer, the others may be dead, too. */
  dropIdle(): void {
    for (const sockets of Object.values(this.#agents?.requests.freeSockets ?? {})) for (const socket of sockets ?? []) socket.destroy();
  }

  close(): void {
    this.#agents?.requests.destroy();
    this.#agents?.others.destroy();
    this.#agents = undefined;
  }

  #agentsFor({ ca, cert, key, pfx, passphrase, rejectUnauthorized, servername }: RequestOptions) {
    const material: Material = { ca, cert, key, pfx, passphrase, rejectUnauthorized, servername };
    if (this.#agents && same(material, this.#material)) return this.#agents;
    // The certificates are new. Requests under way keep the old connections, which close when they are idle.
    const old = this.#agents;
    const defined = Object.fromEntries(Object.entries(material).filter(([, value]) => value !== undefined && value !== null));
    const Agent = this.server.protocol === 'http:' ? HttpAgent : HttpsAgent;
    this.#agents = {
      requests: new Agent({
        ...defined,
        keepAlive: true,
        keepAliveMsecs: 15_000,
        maxSockets: MAX_SOCKETS,
        scheduling: 'lifo',
        timeout: IDLE_MS,
      }),
      others: new Agent({ ...defined, keepAlive: true, keepAliveMsecs: 15_000, maxFreeSockets: 1 }),
    };
    this.#material = material;
    if (old) for (const sockets of Object.values(old.requests.freeSockets)) for (const socket of sockets ?? []) socket.destroy();
    return this.#agents;
  }
}

function same(a: Material, b: Material): boolean {
  return (Object.keys(a) as (keyof Material)[]).every((key) => {
    const [left, right] = [a[key], b[key]];
    return left === right || (Buffer.isBuffer(left) && Buffer.isBuffer(right) && left.equals(right));
  });
}
