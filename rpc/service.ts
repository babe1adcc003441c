import type { ServiceDefinition } from '@grpc/grpc-js';

/** What pbjs makes of one method. Calling it is for the client side; its properties describe it. */
interface GeneratedMethod {
  readonly name: string;
  readonly path: string;
  readonly requestType: string;
  readonly responseType: string;
  readonly requestStream?: boolean | undefined;
  readonly responseStream?: boolean | undefined;
}

interface MessageType {
  encode(message: object): { finish(): Uint8Array };
  decode(bytes: Uint8Array): object;
}

/** A service class that pbjs made, such as `csi.v1.Node`. */
export interface GeneratedService<S> {
  readonly prototype: S;
  readonly name: string;
}

/** Names of a generated service's methods. */
export type MethodName<S> = { [K in keyof S]: S[K] extends { readonly path: string } ? K : never }[keyof S] & string;
// The last overload of a generated method is (request) => Promise<response>.
export type RequestOf<M> = M extends (request: infer Request) => Promise<unknown> ? Request : never;
export type ResponseOf<M> = M extends (request: never) => Promise<infer Response> ? Response : never;
/** A message's fields, each of which may be left out. */
export type Fields<Message> = { [K in keyof Message as Message[K] extends (...args: never) => unknown ? never : K]?: Message[K] | null };

/** The methods of a generated service with their names and message types, taken from the package that it is in. */
export function methodsOf<S>(service: GeneratedService<S>, namespace: object): ServiceDefinition {
  const messages = namespace as Record<string, MessageType>;
  const definition: Record<string, ServiceDefinition[string]> = {};
  for (const key of Object.getOwnPropertyNames(service.prototype)) {
    const method = (service.prototype as Record<string, Partial<GeneratedMethod>>)[key];
    if (key === 'constructor' || !method?.path) continue;
    const request = messages[method.requestType ?? ''];
    const response = messages[method.responseType ?? ''];
    if (!request || !response) throw new Error(`${method.path}: its message types are not in the namespace given`);
    definition[key] = {
      path: method.path,
      requestStream: method.requestStream ?? false,
      responseStream: method.responseStream ?? false,
      requestSerialize: (message: object) => Buffer.from(request.encode(message).finish()),
      requestDeserialize: (bytes: Buffer) => request.decode(bytes),
      responseSerialize: (message: object) => Buffer.from(response.encode(message).finish()),
      responseDeserialize: (bytes: Buffer) => response.decode(bytes),
    };
  }
  return definition;
}
