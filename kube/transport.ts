import type { IncomingMessage } from 'node:http';
import { Agent, request as httpsRequest, type RequestOptions } from 'node:https';
import { KubeConfig } from '@kubernetes/client-node';
import { KubeError } from './errors.ts';

export interface Call {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  /** Path and query. */
  readonly path: string;
  readonly body?: object;
  readonly contentType?: string;
  readonly signal?: AbortSignal | undefined;
  /** Limit until the answer's header is there, 30 s when absent. */
  readonly timeoutMs?: number;
}

const TIMEOUT_MS = 30_000;
const KEEP_ALIVE_MS = 30_000;

/** HTTPS to one API server, with the credentials of a kubeconfig or of the pod's service account. Connections are kept. */
export class Transport {
  readonly #config: KubeConfig;
  readonly #server: URL;
  readonly #agent: Agent;

  constructor(config: KubeConfig) {
    const server = config.getCurrentCluster()?.server;
    if (!server)
      throw new Error('there is no API server to talk to: the kubeconfig names no cluster, and this is no pod with a service account');
    this.#config = config;
    this.#server = new URL(server);
    this.#agent = new Agent({ keepAlive: true, keepAliveMsecs: KEEP_ALIVE_MS, maxFreeSockets: 8 });
  }

  static fromCluster(): Transport {
    const config = new KubeConfig();
    config.loadFromDefault();
    return new Transport(config);
  }

  static fromKubeconfig(path: string): Transport {
    const config = new KubeConfig();
    config.loadFromFile(path);
    return new Transport(config);
  }

  /** Sends a request and reads its JSON answer. @throws KubeError when the API server refuses it */
  async json<T>(call: Call): Promise<T> {
    const response = await this.open(call);
    return JSON.parse(await text(response, call.signal)) as T;
  }

  /**
   * Sends a request and gives the answer with its body unread.
   * @throws KubeError when the API server refuses it, or an Error that names method and path when it cannot be reached
   */
  async open(call: Call): Promise<IncomingMessage> {
    let response: IncomingMessage;
    try {
      response = await this.#send(call);
    } catch (error) {
      // A kept connection that the server closed at the same moment: the request was not looked at.
      if (!(error instanceof StaleConnection)) throw error;
      response = await this.#send(call);
    }
    const status = response.statusCode ?? 0;
    if (status < 300) return response;
    throw toKubeError(status, await text(response, call.signal), call);
  }

  async #send(call: Call): Promise<IncomingMessage> {
    call.signal?.throwIfAborted();
    const body = call.body === undefined ? undefined : Buffer.from(JSON.stringify(call.body));
    const options: RequestOptions = {
      agent: this.#agent,
      method: call.method,
      host: this.#server.hostname,
      port: this.#server.port || 443,
      path: `${this.#server.pathname.replace(/\/$/, '')}${call.path}`,
      headers: {
        accept: 'application/json',
        ...(body ? { 'content-type': call.contentType ?? 'application/json', 'content-length': body.length } : {}),
      },
    };
    // Each time anew: service account tokens are replaced while we run.
    await this.#config.applyToHTTPSOptions(options);
    options.agent = this.#agent;
    return new Promise((resolve, reject) => {
      const request = httpsRequest(options);
      const fail = (error: Error) => reject(new Error(`${call.method} ${call.path}: ${error.message}`, { cause: error }));
      const limit = setTimeout(() => request.destroy(new Error('the API server did not answer in time')), call.timeoutMs ?? TIMEOUT_MS);
      const abort = () => request.destroy(call.signal?.reason instanceof Error ? call.signal.reason : new Error('aborted'));
      const done = () => {
        clearTimeout(limit);
        call.signal?.removeEventListener('abort', abort);
      };
      call.signal?.addEventListener('abort', abort, { once: true });
      request.on('response', (response) => {
        done();
        resolve(response);
      });
      request.on('error', (error: NodeJS.ErrnoException) => {
        done();
        if (call.signal?.aborted) reject(call.signal.reason);
        else if (request.reusedSocket && error.code === 'ECONNRESET') reject(new StaleConnection());
        else fail(error);
      });
      request.end(body);
    });
  }
}

class StaleConnection extends Error {}

/** Reads a body, at most for as long as a request may take. */
async function text(response: IncomingMessage, signal: AbortSignal | undefined): Promise<string> {
  const abort = () => response.destroy(new Error('aborted'));
  signal?.addEventListener('abort', abort, { once: true });
  const limit = setTimeout(() => response.destroy(new Error('the API server did not finish its answer in time')), TIMEOUT_MS);
  try {
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks).toString();
  } finally {
    clearTimeout(limit);
    signal?.removeEventListener('abort', abort);
  }
}

function toKubeError(status: number, body: string, call: Call): KubeError {
  try {
    const { reason = '', message = body } = JSON.parse(body) as { reason?: string; message?: string };
    return new KubeError(status, reason, message);
  } catch {
    return new KubeError(status, '', `${call.method} ${call.path}: HTTP ${status} ${body.slice(0, 200)}`);
  }
}
