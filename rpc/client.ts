import { Client, type ClientReadableStream, credentials, Metadata, type ServiceDefinition, type ServiceError } from '@grpc/grpc-js';
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

/** Calls a service over a Unix socket. It connects when it is first used. A call without a server fails at once with UNAVAILABLE. */
export class RpcClient<S> {
  readonly #client: Client;
  readonly #methods: ServiceDefinition;

  constructor(service: GeneratedService<S>, namespace: object, socket: string) {
    this.#methods = methodsOf(service, namespace);
    this.#client = new Client(`unix://${socket}`, credentials.createInsecure(), {
      'grpc.initial_reconnect_backoff_ms': 50,
      'grpc.min_reconnect_backoff_ms': 50,
      'grpc.max_reconnect_backoff_ms': 1000,
    });
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
        new Metadata(),
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
    const call: ClientReadableStream<unknown> = this.#client.makeServerStreamRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request,
      new Metadata(),
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

  #method(name: string): ServiceDefinition[string] {
    const method = this.#methods[name];
    if (!method) throw new Error(`the service has no method ${name}`);
    return method;
  }
}

function toRpcError(error: ServiceError): RpcError {
  return new RpcError(error.code as Code, error.details || error.message, { cause: error });
}
