// The process of one test file: runs it with jest-circus, and sends its runner what came of it.
import { createRequire, enableCompileCache } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Message, Order } from './runner.ts';

/** How long a process may take to end after its last test, in milliseconds. */
const LINGER_MS = 20_000;

// Each file loads Jest and much of our code again: compiled code is kept between them, by its content.
enableCompileCache(join(import.meta.dirname, '../../node_modules/.cache/compiled'));
const require = createRequire(import.meta.url);
const send = (message: Message) => process.send?.(message);
/** Resolves when a message is out of this process: a pipe that is full keeps it, and the end of the process would lose it. */
const sent = (message: Message) => new Promise((resolve) => process.send?.(message, undefined, undefined, resolve));

function fail(message: string, stack = message): never {
  send({ type: 'error', message, stack });
  process.exit(1);
}

async function run({ path, globalConfig, config }: Order): Promise<void> {
  Error.stackTraceLimit = 50;
  const start = Date.now();
  // What jest-circus asks of a runtime, answered by Node itself: no sandbox, no transform, no mocked modules.
  const ignore = () => {};
  const runtime = {
    requireInternalModule: require,
    requireModule: require,
    unstable_shouldLoadAsEsm: () => true,
    unstable_importModule: (file: string) => import(pathToFileURL(file).href),
    setGlobalsForRuntime: ignore,
    enterTestCode: ignore,
    leaveTestCode: ignore,
  };
  const report = (name: string, data: unknown) => send({ type: 'event', name, data } as Message);
  const circus = require('jest-circus/runner').default;
  const result = await circus(globalConfig, config, { global: globalThis }, runtime, path, report);
  const end = Date.now();
  result.perfStats = { ...result.perfStats, start, end, runtime: end - start, slow: (end - start) / 1000 > config.slowTestThreshold };
  await sent({ type: 'result', result });
  // What a failed test has left open is not worth a word.
  if (result.numFailingTests > 0) process.exit(0);
  setTimeout(() => fail(`all tests passed, and left open: ${process.getActiveResourcesInfo().join(', ')}`), LINGER_MS).unref();
}

process.once('message', (order: Order) => {
  run(order).catch((error: Error) => fail(error.message, error.stack));
});
