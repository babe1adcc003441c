// What every test file finds beside Jest's own globals (globals.d.ts has their types).
import { ModernFakeTimers } from '@jest/fake-timers';

type Matchers = Record<string, unknown>;

/** Puts what a test says about a value before the message of a matcher that fails. */
function explain(matchers: Matchers, context: string): Matchers {
  const fail = (error: Error): never => {
    const message = `${context}\n\n${error.message}`;
    const frames = error.stack?.slice(error.stack.indexOf(error.message) + error.message.length).split('\n') ?? [];
    error.stack = `${error.name}: ${message}${frames.filter((frame) => !frame.includes(import.meta.url)).join('\n')}`;
    error.message = message;
    throw error;
  };
  return new Proxy(matchers, {
    get(target, name: string) {
      const value = target[name];
      if (typeof value !== 'function') return explain(value as Matchers, context);
      return (...args: unknown[]) => {
        try {
          const outcome = value(...args);
          return outcome instanceof Promise ? outcome.catch(fail) : outcome;
        } catch (error) {
          return fail(error as Error);
        }
      };
    },
  });
}

const plain = (globalThis as unknown as { expect: jest.Expect }).expect;
plain.extend({
  toSatisfy(actual: unknown, accepts: (actual: unknown) => boolean) {
    return {
      pass: accepts(actual),
      message: () => `${this.utils.printReceived(actual)} is not what ${accepts.name || 'the function'} accepts`,
    };
  },
});
const expect = (actual: unknown, context?: string) => (context ? explain(plain(actual) as never, context) : plain(actual));

let finishers: (() => unknown)[] = [];
const timers = new ModernFakeTimers({ config: { rootDir: process.cwd(), testMatch: [], fakeTimers: {} } as never, global: globalThis });

Object.assign(globalThis, {
  expect: Object.assign(expect, plain),
  onTestFinished: (finish: () => unknown) => finishers.push(finish),
  jest: {
    useFakeTimers: (config?: object) => timers.useFakeTimers(config),
    useRealTimers: () => timers.useRealTimers(),
    advanceTimersByTime: (ms: number) => timers.advanceTimersByTime(ms),
  },
});

type Block = ((name: string, ...rest: unknown[]) => void) & { skip: Block; skipIf: (reason?: string | boolean) => Block };
for (const block of [describe, test, it] as unknown as Block[]) {
  const skip =
    (reason: string | true) =>
    (name: string, ...rest: unknown[]) =>
      block.skip(typeof reason === 'string' ? `${name} (${reason})` : name, ...rest);
  block.skipIf = (reason) => (reason ? (skip(reason) as Block) : block);
}

afterEach(async () => {
  timers.useRealTimers();
  const all = finishers.reverse();
  finishers = [];
  for (const finish of all) await finish();
});
