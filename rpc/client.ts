import {
  type ChannelCredentials,
  Client,
  type ClientReadableStream,
  credentials,
  Metadata,
  type ServiceDefinition,
  type ServiceError,
} from '@grpc/grpc-js';
import { type GeneratedService, type MethodName, methodsOf, type RequestOf, type ResponseOf } from './service.ts';
import { type Code, RpcError } from './status.ts';

export interface CallOptions {
  readonly signal?: AbortSignal;
  /** Limit of the call in milliseconds. Absent: 10 s for a call, none for a stream. */
  readonly timeoutMs?: number;
}

const DEFAULT_TIMEOUT_MS = 10_000;

/** Names of a service's methods that answer once, and names of those that stream. */
type UnaryName<S> = { [K in MethodName<S>]: S[K] extends { readonly responseStream: true } ? never : K }[MethodName<S>];
type StreamName<S> = { [K in MethodName<S>]: S[K] extends { readonly responseStream: true } ? K : never }[MethodName<S>];

/** A server on the network. */
export interface NetworkAddress {
  readonly host: string;
  readonly port: number;
  /** The certificate of this server, in PEM. No other is accepted, whoever signed it. */
  readonly certificate: string;
  /** Sent with each call. */
  readonly token: string;
}

/** A server on the network that does not answer for so long is gone, in milliseconds: calls fail with UNAVAILABLE. */
const PEER_SILENCE_MS = 20_000;

/**
 * Calls a service over a Unix socket, or over the network with TLS. It connects when it is first used. A call without a server fails at once
 * with UNAVAILABLE.
 */
export class RpcClient<S> {
  readonly #client: Client;
  readonly #methods: ServiceDefinition;
  readonly #token: string | undefined;

  /** @param server path of a Unix socket, or where the server is on the network */
  constructor(service: GeneratedService<S>, namespace: object, server: string | NetworkAddress) {
    this.#methods = methodsOf(service, namespace);
    const isLocal = typeof server === 'string';
    this.#token = isLocal ? undefined : server.token;
    this.#client = new Client(
      isLocal ? `unix://${server}` : `${bracketed(server.host)}:${server.port}`,
      isLocal ? credentials.createInsecure() : credentialsOf(server.certificate),
      {
        'grpc.initial_reconnect_backoff_ms': 50,
        'grpc.min_reconnect_backoff_ms': 50,
        'grpc.max_reconnect_backoff_ms': 1000,
        ...(isLocal ? {} : { 'grpc.keepalive_time_ms': PEER_SILENCE_MS / 2, 'grpc.keepalive_timeout_ms': PEER_SILENCE_MS / 2 }),
      },
    );
  }

  /** @throws RpcError */
  call<K extends UnaryName<S>>(name: K, request: RequestOf<S[K]>, options: CallOptions = {}): Promise<ResponseOf<S[K]>> {
    const method = this.#method(name);
    return new Promise((resolve, reject) => {
      if (options.signal?.aborted) return reject(options.signal.reason);
      const call = this.#client.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        request,
        this.#metadata(),
        { deadline: Date.now() + (options.timeoutMs ?? DEFAULT_TIMEOUT_MS) },
        (error, response) => {
          options.signal?.removeEventListener('abort', cancel);
          if (error) reject(options.signal?.aborted ? options.signal.reason : toRpcError(error));
          else resolve(response as ResponseOf<S[K]>);
        },
      );
      const cancel = () => call.cancel();
      options.signal?.addEventListener('abort', cancel, { once: true });
    });
  }

  /** The messages of a stream until it ends, or its signal is aborted. @throws RpcError when the server ends it with an error */
  async *stream<K extends StreamName<S>>(name: K, request: RequestOf<S[K]>, options: CallOptions = {}): AsyncGenerator<ResponseOf<S[K]>> {
    const method = this.#method(name);
    // The event has been: it would end nothing.
    if (options.signal?.aborted) return;
    const call: ClientReadableStream<unknown> = this.#client.makeServerStreamRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request,
      this.#metadata(),
      options.timeoutMs === undefined ? {} : { deadline: Date.now() + options.timeoutMs },
    );
    const cancel = () => call.cancel();
    options.signal?.addEventListener('abort', cancel, { once: true });
    try {
      for await (const message of call) yield message as ResponseOf<S[K]>;
    } catch (error) {
      if (options.signal?.aborted) return;
      throw toRpcError(error as ServiceError);
    } finally {
      options.signal?.removeEventListener('abort', cancel);
      call.cancel();
    }
  }

  close(): void {
    this.#client.close();
  }

  #metadata(): Metadata {
    const metadata = new Metadata();
    if (this.#token !== undefined) metadata.set('authorization', `Bearer ${this.#token}`);
    return metadata;
  }

  #method(name: string): ServiceDefinition[string] {
    const method = this.#methods[name];
    if (!method) throw new Error(`the service has no method ${name}`);
    return method;
  }
}

/** An IPv6 address needs brackets before a port. */
function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

/** The names in the certificate do not matter, because no other certificate is accepted. */
function credentialsOf(certificate: string): ChannelCredentials {
  return credentials.createSsl(Buffer.from(certificate), null, null, { checkServerIdentity: () => undefined });
}

function toRpcError(error: ServiceError): RpcError {
  return new RpcError(error.code as Code, error.details || error.message, { cause: error });
}
