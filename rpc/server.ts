import { once } from 'node:events';
import { chmodSync, rmSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import {
  type handleUnaryCall,
  Metadata,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { type Fields, type GeneratedService, type MethodName, methodsOf, type RequestOf, type ResponseOf } from './service.ts';
import { Code, codeName, RpcError } from './status.ts';

/** The part of a pino logger that is used here. */
export interface RpcLog {
  debug(keys: object, message: string): void;
  info(keys: object, message: string): void;
  error(keys: object, message: string): void;
}

export interface CallContext {
  /** Aborted when the caller cancels, or its deadline passes. */
  readonly signal: AbortSignal;
  /** Deadline of the caller, in milliseconds as Date.now() counts them. Infinity when the caller has none. */
  readonly deadline: number;
  /** The token that the caller sent; undefined when it sent none. Nobody has checked it. */
  readonly token?: string | undefined;
}

/** One handler per method: a missing one is a compile error. A method that streams its answers gives an AsyncIterable. */
export type Handlers<S> = {
  [K in MethodName<S>]: S[K] extends { readonly responseStream: true }
    ? (request: RequestOf<S[K]>, context: CallContext) => AsyncIterable<Fields<ResponseOf<S[K]>>>
    : (request: RequestOf<S[K]>, context: CallContext) => Promise<Fields<ResponseOf<S[K]>>>;
};

/** A key and its certificate, both in PEM. */
export interface ServerIdentity {
  readonly key: string;
  readonly certificate: string;
}

export type ServeOptions = { readonly log: RpcLog } & (
  | {
      /** Path of the unix socket. A socket that a crash left there is removed. */
      readonly socket: string;
      /** Permissions of the socket. */
      readonly mode?: number;
    }
  | {
      /** HOST:PORT to serve on, with TLS. Anybody can call: handlers check the token. */
      readonly address: string;
      readonly identity: ServerIdentity;
    }
);

/** How long a stopping server waits for calls that are under way. */
const GRACE_MS = 5_000;

/** A caller on the network that does not answer for so long is gone, in milliseconds: its calls are cancelled. */
const PEER_SILENCE_MS = 20_000;
/** A connection on the network without a call is closed after this time, in milliseconds. */
const IDLE_MS = 120_000;

/**
 * A gRPC server on a unix socket, or on the network with TLS. On a socket it closes no connection for being idle: Kubernetes' sidecars take a lost connection for the end of the
 * driver, and exit (csi-lib-utils, connection.go).
 */
export class RpcServer {
  readonly #server: Server;
  readonly #options: ServeOptions;
  readonly #log: RpcLog;
  #port: number | undefined;

  constructor(options: ServeOptions) {
    this.#log = options.log;
    this.#options = options;
    const network = {
      'grpc.keepalive_time_ms': PEER_SILENCE_MS / 2,
      'grpc.keepalive_timeout_ms': PEER_SILENCE_MS / 2,
      'grpc.max_connection_idle_ms': IDLE_MS,
    };
    this.#server = new Server('address' in options ? network : {});
  }

  /** Adds a service of a generated package: `add(csi.v1.Node, csi.v1, {…})`. */
  add<S>(service: GeneratedService<S>, namespace: object, handlers: Handlers<S>): this {
    const definition: ServiceDefinition = methodsOf(service, namespace);
    const implementation: UntypedServiceImplementation = {};
    for (const [key, method] of Object.entries(definition)) {
      const handler = (handlers as unknown as Record<string, (request: unknown, context: CallContext) => never>)[key];
      if (!handler) throw new Error(`no handler for ${method.path}`);
      implementation[key] = method.responseStream ? this.#streaming(method.path, handler) : this.#unary(method.path, handler);
    }
    this.#server.addService(definition, implementation);
    return this;
  }

  /** Serves until the signal is aborted, then lets calls under way end for a few seconds. Resolves when all is closed. */
  async run(signal: AbortSignal): Promise<void> {
    await this.start();
    if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    await this.stop();
  }

  /** The port on the network, once it serves there. */
  get port(): number | undefined {
    return this.#port;
  }

  /** Begins to serve. @throws Error when the socket cannot be created, or the address cannot be had */
  async start(): Promise<void> {
    const options = this.#options;
    if ('address' in options) {
      const { key, certificate } = options.identity;
      const pair = { private_key: Buffer.from(key), cert_chain: Buffer.from(certificate) };
      this.#port = await this.#bindNetwork(options.address, ServerCredentials.createSsl(null, [pair]));
      this.#log.info({ address: options.address, port: this.#port }, 'serving gRPC');
      return;
    }
    const { socket, mode = 0o660 } = options;
    await mkdir(dirname(socket), { recursive: true });
    rmSync(socket, { force: true });
    await this.#bind(`unix://${socket}`, ServerCredentials.createInsecure());
    chmodSync(socket, mode);
    this.#log.info({ socket }, 'serving gRPC');
  }

  /** Without a host: on all addresses of IPv6 and IPv4, or of IPv4 alone where the kernel has no IPv6. */
  async #bindNetwork(address: string, credentials: ServerCredentials): Promise<number> {
    if (!address.startsWith(':')) return this.#bind(address, credentials);
    try {
      return await this.#bind(`[::]${address}`, credentials);
    } catch (error) {
      // grpc-js has the code in the message only. For any other cause, half of the addresses would be another program's.
      if (!/EAFNOSUPPORT|EADDRNOTAVAIL/.test(String(error))) throw error;
      return this.#bind(`0.0.0.0${address}`, credentials);
    }
  }

  #bind(address: string, credentials: ServerCredentials): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.bindAsync(address, credentials, (error, port) => (error ? reject(error) : resolve(port)));
    });
  }

  async stop(): Promise<void> {
    await new Promise<void>((resolve) => {
      const limit = setTimeout(() => {
        this.#server.forceShutdown();
        resolve();
      }, GRACE_MS);
      this.#server.tryShutdown(() => {
        clearTimeout(limit);
        resolve();
      });
    });
    if ('socket' in this.#options) rmSync(this.#options.socket, { force: true });
  }

  #unary(path: string, handler: (request: unknown, context: CallContext) => Promise<object>): handleUnaryCall<unknown, object> {
    return (call, callback) => {
      const started = performance.now();
      // Within a promise, so that a handler that throws at once is answered, too.
      const answer = (async () => handler(call.request, contextOf(call)))();
      answer.then(
        (response) => {
          this.#log.debug({ path, ms: since(started) }, 'call done');
          callback(null, response);
        },
        (error: unknown) => callback(this.#toStatus(path, started, error)),
      );
    };
  }

  #streaming(path: string, handler: (request: unknown, context: CallContext) => AsyncIterable<object>) {
    return (call: ServerWritableStream<unknown, object>): void => {
      const started = performance.now();
      this.#pump(call, handler).then(
        () => call.end(),
        (error: unknown) => call.emit('error', this.#toStatus(path, started, error)),
      );
    };
  }

  /** Writes the handler's messages as fast as the caller reads them, until the handler ends or the caller leaves. */
  async #pump(
    call: ServerWritableStream<unknown, object>,
    handler: (request: unknown, context: CallContext) => AsyncIterable<object>,
  ): Promise<void> {
    const context = contextOf(call);
    for await (const message of handler(call.request, context)) {
      if (context.signal.aborted) return;
      if (!call.write(message)) await once(call, 'drain', { signal: context.signal }).catch(() => {});
    }
  }

  /** The status of an RpcError; INTERNAL for any other, whose stack goes to the log and not to the caller. */
  #toStatus(path: string, started: number, error: unknown) {
    // Other errors also have a `code`, with another meaning: an HTTP status, an exit status.
    const code = error instanceof RpcError ? error.code : Code.INTERNAL;
    const details = error instanceof Error ? error.message : String(error);
    const keys = { path, ms: since(started), code: codeName(code), error: details };
    if (code === Code.INTERNAL)
      this.#log.error({ ...keys, stack: error instanceof Error ? error.stack : undefined }, 'call failed unexpectedly');
    else this.#log.info(keys, 'call refused');
    return { code, details, metadata: new Metadata() };
  }
}

function since(started: number): number {
  return Math.round(performance.now() - started);
}

function contextOf(call: ServerUnaryCall<unknown, object> | ServerWritableStream<unknown, object>): CallContext {
  const controller = new AbortController();
  call.on('cancelled', () => controller.abort(new Error('the caller cancelled the call or its deadline passed')));
  const [authorization] = call.metadata.get('authorization');
  const token = typeof authorization === 'string' ? /^Bearer (.+)$/.exec(authorization)?.[1] : undefined;
  return { signal: controller.signal, deadline: Number(call.getDeadline()), token };
}
