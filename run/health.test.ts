import { type AddressInfo, createServer } from 'node:net';
import { type Checks, type HealthOptions, serveHealth } from './health.ts';
import { createLog, type Logger } from './log.ts';
import { counter, gauge, histogram } from './metrics.ts';

interface Served {
  get(path: string): Promise<{ status: number; text: string; type: string | null }>;
  stop(): Promise<void>;
  lines: Record<string, unknown>[];
}

/** A log that is kept, and told to `onLine`. */
function keptLog(onLine: (line: Record<string, unknown>) => void): Logger {
  return createLog('test', 'debug', { write: (text: string) => onLine(JSON.parse(text)) });
}

async function serve(checks: Checks, options?: HealthOptions): Promise<Served> {
  const stop = new AbortController();
  const listening = Promise.withResolvers<number>();
  const lines: Record<string, unknown>[] = [];
  const log = keptLog((line) => {
    lines.push(line);
    if (line.address) listening.resolve((line.address as AddressInfo).port);
  });
  const done = serveHealth('127.0.0.1:0', checks, stop.signal, log, options);
  done.catch(listening.reject);
  const port = await listening.promise;
  return {
    lines,
    async get(path) {
      const answer = await fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(5_000) });
      return { status: answer.status, text: await answer.text(), type: answer.headers.get('content-type') };
    },
    async stop() {
      stop.abort();
      await done;
      await expect(fetch(`http://127.0.0.1:${port}/healthz`)).rejects.toThrow();
    },
  };
}

test('a program that has not got everything it needs is healthy, but not ready, and says what is missing', async () => {
  const synced = Promise.withResolvers<void>();
  const served = await serve({ synced: synced.promise, target: () => 'the target does not answer', lease: () => undefined });
  expect(await served.get('/healthz')).toStrictEqual({ status: 200, text: 'ok\n', type: 'text/plain' });
  expect(await served.get('/readyz')).toStrictEqual({
    status: 503,
    text: 'synced: not ready yet\ntarget: the target does not answer\n',
    type: 'text/plain',
  });
  synced.resolve();
  await synced.promise;
  expect((await served.get('/readyz')).text).toBe('target: the target does not answer\n');
  await served.stop();
});

test('a program becomes ready when all its checks pass', async () => {
  const synced = Promise.withResolvers<void>();
  const served = await serve({ synced: synced.promise });
  expect((await served.get('/readyz?verbose')).status).toBe(503);
  synced.resolve();
  expect((await served.get('/readyz?verbose')).status).toBe(200);
  await served.stop();
});

test('a check that fails for ever is logged', async () => {
  const served = await serve({ synced: Promise.reject(new Error('no')) });
  expect((await served.get('/readyz')).status).toBe(503);
  expect(served.lines.find(({ check }) => check === 'synced')?.msg).toBe('a part of the program will not become ready');
  await served.stop();
});

test('metrics are served in the text format of Prometheus', async () => {
  const volumes = new Map([['Ready', 2]]);
  gauge('test_volumes', 'Volumes.', ['phase'], (set) => {
    for (const [phase, value] of volumes) set({ phase }, value);
  });
  counter('test_calls_total', 'Calls.', ['method']).inc({ method: 'a' }, 3);
  histogram('test_seconds', 'Time.').observe(0.2);
  const served = await serve({});
  const { text, type, status } = await served.get('/metrics');
  expect(status).toBe(200);
  expect(String(type)).toMatch(/^text\/plain; version=0\.0\.4/);
  for (const line of [
    'test_volumes{phase="Ready"} 2',
    'test_calls_total{method="a"} 3',
    'test_seconds_bucket{le="0.3"} 1',
    'test_seconds_count 1',
  ])
    expect(text, line).toContain(`${line}\n`);
  expect(text).toMatch(/^process_resident_memory_bytes [0-9]+$/m);
  volumes.clear();
  expect((await served.get('/metrics')).text).not.toMatch(/^test_volumes\{/m);
  await served.stop();
});

test('another path is answered with the paths that there are', async () => {
  const served = await serve({});
  expect(await served.get('/')).toStrictEqual({
    status: 404,
    text: 'not found: the paths are /healthz, /readyz and /metrics\n',
    type: 'text/plain',
  });
  await served.stop();
});

test('an address that cannot be used is an error that names it', async () => {
  const taken = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => taken.once('listening', resolve));
  const address = `127.0.0.1:${(taken.address() as AddressInfo).port}`;
  const { signal } = new AbortController();
  const log = keptLog(() => {});
  await expect(serveHealth(address, {}, signal, log)).rejects.toThrow(new RegExp(`cannot serve health on ${address}: .*EADDRINUSE`));
  for (const wrong of ['9808', ':port', ':70000', '']) {
    await expect(serveHealth(wrong, {}, signal, log)).rejects.toThrow(/is not an address to serve health on: write HOST:PORT or :PORT/);
  }
  taken.close();
});

test('a program of which a part has hung is not healthy, and says which', async () => {
  let hung: string | undefined;
  const served = await serve({}, { hung: () => hung });
  expect((await served.get('/healthz')).status).toBe(200);
  hung = 'controller volumes has hung';
  expect(await served.get('/healthz')).toStrictEqual({ status: 503, text: 'controller volumes has hung\n', type: 'text/plain' });
  expect(served.lines.some((line) => line.hung === hung)).toBe(true);
  hung = undefined;
  expect((await served.get('/healthz')).status).toBe(200);
  await served.stop();
});
