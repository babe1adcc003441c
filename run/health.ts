import { createServer } from 'node:http';
import { aborted } from './aborted.ts';
import type { Logger } from './log.ts';
import { metricsContentType, metricsText } from './metrics.ts';

/** Checks by name: a promise that resolves when that part of the program is ready, or a function that returns what is wrong now, if anything. */
export type Checks = Readonly<Record<string, Promise<unknown> | (() => string | undefined)>>;

export interface HealthOptions {
  /** What is wrong that only a restart ends; undefined when nothing is. Default: nothing, so /healthz shows that the event loop runs. */
  hung?: () => string | undefined;
}

/**
 * Serves /healthz, /readyz (all checks pass) and /metrics on `address`, [HOST]:PORT, until the signal is aborted. When /healthz gets
 * no answer, or says that something has hung, the kubelet restarts the program: never for something that a restart does not end,
 * such as a disk or an API server that does not answer.
 */
export async function serveHealth(
  address: string,
  checks: Checks,
  signal: AbortSignal,
  log: Logger,
  { hung = () => undefined }: HealthOptions = {},
): Promise<void> {
  const waiting = new Set<string>();
  const polled: [string, () => string | undefined][] = [];
  for (const [name, check] of Object.entries(checks)) {
    if (typeof check === 'function') polled.push([name, check]);
    else {
      waiting.add(name);
      check
        .then(() => waiting.delete(name))
        .catch((error: unknown) => log.error({ check: name, error }, 'a part of the program will not become ready'));
    }
  }
  const problems = () => [
    ...[...waiting].map((name) => `${name}: not ready yet`),
    ...polled.flatMap(([name, ask]) => {
      const problem = ask();
      return problem === undefined ? [] : [`${name}: ${problem}`];
    }),
  ];
  const server = createServer((request, response) => {
    const answer = (status: number, body: string, type = 'text/plain') => response.writeHead(status, { 'content-type': type }).end(body);
    const path = request.url?.split('?')[0];
    if (path === '/healthz') {
      const found = hung();
      if (found !== undefined) log.error({ hung: found }, '/healthz fails, so the kubelet will restart this program');
      answer(found === undefined ? 200 : 503, `${found ?? 'ok'}\n`);
    } else if (path === '/readyz') {
      const found = problems();
      answer(found.length === 0 ? 200 : 503, `${found.length === 0 ? 'ok' : found.join('\n')}\n`);
    } else if (path === '/metrics') {
      metricsText().then(
        (text) => answer(200, text, metricsContentType),
        (error: unknown) => answer(500, `${error instanceof Error ? error.message : String(error)}\n`),
      );
    } else answer(404, 'not found: the paths are /healthz, /readyz and /metrics\n');
  });
  const [host, port] = splitAddress(address);
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(new Error(`cannot serve health on ${address}: ${error.message}`, { cause: error })));
    server.listen({ port, ...(host ? { host } : {}) }, resolve);
  });
  log.debug({ address: server.address() }, 'serving health and metrics');
  await aborted(signal);
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}

function splitAddress(address: string): [string, number] {
  const [, host = '', port] = /^(.*):([0-9]+)$/.exec(address) ?? [];
  if (port === undefined || Number(port) > 65535)
    throw new Error(`"${address}" is not an address to serve health on: write HOST:PORT or :PORT`);
  return [host.replace(/^\[(.*)\]$/, '$1'), Number(port)];
}
