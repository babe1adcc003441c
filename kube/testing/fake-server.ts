import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

export interface Call {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  readonly body: unknown;
  readonly response: ServerResponse;
  readonly socket: Socket;
}

export type Handler = (call: Call) => void | Promise<void>;

/** An HTTP server on the loopback interface that answers as the test says. */
export class FakeServer implements AsyncDisposable {
  readonly #server: Server;
  readonly calls: Call[] = [];
  handler: Handler;

  private constructor(handler: Handler) {
    this.handler = handler;
    this.#server = createServer((request, response) => {
      void this.#handle(request, response);
    });
  }

  static async start(handler: Handler): Promise<FakeServer> {
    const fake = new FakeServer(handler);
    fake.#server.listen(0, '127.0.0.1');
    await once(fake.#server, 'listening');
    return fake;
  }

  get url(): string {
    const address = this.#server.address();
    return `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`;
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://x');
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const text = Buffer.concat(parts).toString();
    const { method = '', headers, socket } = request;
    const call: Call = {
      method,
      path: url.pathname,
      query: url.searchParams,
      headers,
      body: text ? JSON.parse(text) : undefined,
      response,
      socket,
    };
    this.calls.push(call);
    await this.handler(call);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** Answers with JSON. */
export function json({ response }: Call, body: unknown, status = 200, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
}

/** Answers with an error as the API server does. */
export function refuse(call: Call, code: number, reason: string, headers: Record<string, string> = {}): void {
  json(call, { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message: `because of ${reason}` }, code, headers);
}

/** Writes a line of a watch, and starts the watch if it is the first line. */
export function line({ response }: Call, type: string, object: unknown): void {
  if (!response.headersSent) response.writeHead(200, { 'content-type': 'application/json' });
  response.write(`${JSON.stringify({ type, object })}\n`);
}

/** Starts a watch without any event. */
export function silence({ response }: Call): void {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.flushHeaders();
}
