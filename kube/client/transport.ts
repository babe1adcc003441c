import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { setTimeout as delay } from 'node:timers/promises';
import type { Credentials } from './credentials.ts';
import { KubeError, messageOf } from './error.ts';

/** Longest pause for a Retry-After header, in milliseconds. */
const MAX_PAUSE_MS = 10_000;

export interface Request {
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  path: string;
  query?: Record<string, string | number | boolean | undefined>;
  body?: unknown;
  contentType?: string;
  /** Media type of the answer. Default application/json. */
  accept?: string | undefined;
  /** Limit for the whole request, including the pauses that the server asks for, in milliseconds. */
  timeoutMs: number;
  /** Uses a connection apart from those of other requests, so that it does not wait for them. */
  urgent?: boolean | undefined;
  signal?: AbortSignal | undefined;
}

/** HTTP to the API server: JSON in both directions, and a time limit for each request. */
export class Transport {
  readonly #credentials: Credentials;
  readonly #userAgent: string;

  constructor(credentials: Credentials, userAgent: string) {
    this.#credentials = credentials;
    this.#userAgent = userAgent;
  }

  /**
   * @returns the parsed answer
   * @throws KubeError; the signal's reason when it was aborted
   */
  async request(request: Request): Promise<unknown> {
    const end = performance.now() + request.timeoutMs;
    for (;;) {
      const response = await this.#send(request, end);
      const text = await this.#text(response, request, end);
      const status = response.statusCode ?? 0;
      if (status >= 200 && status < 300) return parse(text, request);
      const pauseMs = pauseOf(response);
      // The server asks to repeat the request later: it has not processed it.
      if (pauseMs === undefined || performance.now() + pauseMs >= end) throw errorOf(status, text, request);
      await delay(pauseMs, undefined, request.signal ? { signal: request.signal } : {}).catch(() => request.signal?.throwIfAborted());
    }
  }

  /**
   * Starts a watch. The time limit is for its start only.
   * @returns the answer's body, which the caller reads or destroys
   */
  async stream(request: Request): Promise<IncomingMessage> {
    const end = performance.now() + request.timeoutMs;
    const response = await this.#send(request, end, true);
    const status = response.statusCode ?? 0;
    if (status === 200) return response;
    throw errorOf(status, await this.#text(response, request, end), request);
  }

  close(): void {
    this.#credentials.close();
  }

  async #send(request: Request, end: number, stream = false): Promise<IncomingMessage> {
    const response = await this.#attempt(request, end, stream);
    if (response.statusCode !== 401) return response;
    // The token may be an old one. The server has not processed the request, so that a create, too, can be repeated.
    await this.#text(response, request, end);
    this.#credentials.renew();
    return this.#attempt(request, end, stream);
  }

  async #attempt(request: Request, end: number, stream: boolean): Promise<IncomingMessage> {
    try {
      return await this.#once(request, end, stream);
    } catch (error) {
      // The server may have closed an idle connection at this moment. All requests but a create can be repeated.
      if (!(error instanceof StaleConnection) || request.method === 'POST') throw error instanceof StaleConnection ? error.cause : error;
      this.#credentials.dropIdle();
    }
    return await this.#once(request, end, stream).catch((error: unknown) => {
      throw error instanceof StaleConnection ? error.cause : error;
    });
  }

  async #once(request: Request, end: number, stream: boolean): Promise<IncomingMessage> {
    const { signal, method } = request;
    signal?.throwIfAborted();
    const { agent, headers } = await this.#credentials.access(stream || request.urgent === true);
    const url = urlOf(this.#credentials.server, request);
    const body = request.body === undefined ? undefined : JSON.stringify(request.body);
    return new Promise((resolve, reject) => {
      const outgoing = (url.protocol === 'http:' ? httpRequest : httpsRequest)(url, {
        method,
        agent,
        headers: {
          ...headers,
          'User-Agent': this.#userAgent,
          Accept: request.accept ?? 'application/json',
          ...(body === undefined
            ? {}
            : { 'Content-Type': request.contentType ?? 'application/json', 'Content-Length': Buffer.byteLength(body) }),
        },
      });
      const guard = this.#guard(request, end, (reason) => {
        outgoing.destroy();
        // Rejected here: a request that still waits for a connection reports its end only when it gets one.
        reject(reason);
      });
      outgoing.once('response', (response) => {
        guard.release();
        resolve(response);
      });
      outgoing.on('error', (error: NodeJS.ErrnoException) => {
        guard.release();
        const failure = guard.reason ?? unreachable(request, this.#credentials.server, error);
        const stale = !guard.reason && outgoing.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
        reject(stale ? new StaleConnection('', { cause: failure }) : failure);
      });
      outgoing.end(body);
    });
  }

  #text(response: IncomingMessage, request: Request, end: number): Promise<string> {
    return new Promise((resolve, reject) => {
      const parts: Buffer[] = [];
      const guard = this.#guard(request, end, (reason) => {
        response.destroy();
        reject(reason);
      });
      response.on('data', (part: Buffer) => parts.push(part));
      response.once('end', () => {
        guard.release();
        resolve(Buffer.concat(parts).toString('utf8'));
      });
      response.once('error', (error) => {
        guard.release();
        reject(guard.reason ?? unreachable(request, this.#credentials.server, error));
      });
    });
  }

  /** Stops a request when its limit passes or its signal is aborted. */
  #guard({ signal, ...request }: Request, end: number, cancel: (reason: unknown) => void) {
    const state: { reason?: unknown; release: () => void } = { release };
    const stop = (reason: unknown): void => {
      state.reason = reason;
      release();
      cancel(reason);
    };
    const onAbort = (): void => stop(signal?.reason);
    const timer = setTimeout(
      () => {
        this.#credentials.dropIdle();
        stop(new KubeError(504, 'NoAnswer', `${describe(request)}: the API server did not answer within ${request.timeoutMs / 1000} s`));
      },
      Math.max(0, end - performance.now()),
    );
    signal?.addEventListener('abort', onAbort, { once: true });
    function release(): void {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    }
    if (signal?.aborted) onAbort();
    return state;
  }
}

class StaleConnection extends Error {}

function urlOf(server: URL, { path, query }: Request): URL {
  const url = new URL(server);
  url.pathname = url.pathname.replace(/\/$/, '') + path;
  for (const [key, value] of Object.entries(query ?? {})) if (value !== undefined) url.searchParams.set(key, String(value));
  return url;
}

function describe({ method, path }: Pick<Request, 'method' | 'path'>): string {
  return `${method} ${path}`;
}

function unreachable(request: Request, server: URL, cause: Error): KubeError {
  return new KubeError(
    503,
    'Unreachable',
    `${describe(request)}: the API server at ${server.host} cannot be reached: ${messageOf(cause)}`,
    { cause },
  );
}

function parse(text: string, request: Request): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new KubeError(502, 'NotJSON', `${describe(request)}: the answer is not JSON`, { cause });
  }
}

function errorOf(status: number, text: string, request: Request): KubeError {
  let reason = '';
  let details: KubeError['details'];
  let message = text.slice(0, 500).trim();
  try {
    const parsed = JSON.parse(text) as { kind?: string; reason?: string; message?: string; details?: KubeError['details'] };
    if (parsed.kind === 'Status') {
      reason = parsed.reason ?? '';
      details = parsed.details;
      message = parsed.message ?? message;
    }
  } catch {
    // Not a Status, but perhaps the page of a proxy: its text is the message.
  }
  return new KubeError(status, reason, `${describe(request)}: ${message || 'no message'} (${status}${reason ? ` ${reason}` : ''})`, {
    details,
  });
}

function pauseOf({ statusCode = 0, headers }: IncomingMessage): number | undefined {
  const seconds = Number(headers['retry-after'] ?? Number.NaN);
  if ((statusCode !== 429 && statusCode < 500) || !Number.isFinite(seconds)) return undefined;
  // At random, so that the clients which were refused do not all come back at the same moment.
  return Math.min(MAX_PAUSE_MS, Math.max(0.1, seconds) * 1000 * (1 + Math.random() * 0.25));
}
