import { KubeError } from './client/error.ts';
import type { KubeObject } from './client/types.ts';
import { EventRecorder } from './events.ts';

interface Written {
  readonly how: 'create' | 'patch';
  readonly name: string;
  readonly namespace: string | undefined;
  readonly body: Record<string, unknown>;
}

/** Remembers what is written, or fails. */
class FakeKube {
  readonly written: Written[] = [];
  fail: unknown;
  /** Errors of the next writes, each with whether the write was done all the same. */
  readonly next: { error: KubeError; done: boolean }[] = [];

  create = (_type: unknown, body: KubeObject, { namespace }: { namespace?: string } = {}) =>
    this.#write({ how: 'create', name: body.metadata.name, namespace, body: body as never });
  patch = (_type: unknown, name: string, body: object, { namespace }: { namespace?: string } = {}) =>
    this.#write({ how: 'patch', name, namespace, body: body as never });

  async #write(written: Written): Promise<never> {
    const next = this.next.shift();
    if (this.fail !== undefined) throw this.fail;
    if (!next || next.done) this.written.push(written);
    if (next) throw next.error;
    return undefined as never;
  }
}

const object: KubeObject = { apiVersion: 'example.com/v1', kind: 'Widget', metadata: { name: 'v', uid: 'u', resourceVersion: '7' } };

function recorder() {
  const kube = new FakeKube();
  const lines: string[] = [];
  const note = (_keys: object, message: string): void => void lines.push(message);
  const log = { debug: note, info: note, warn: note, error: note };
  return { kube, lines, events: new EventRecorder(kube, { controller: 'example.com/agent', node: 'n1', log, pausesMs: [1, 1] }) };
}

test('an event names its object, its writer, and what happened', async () => {
  const { kube, events } = recorder();
  events.event(object, 'Warning', 'AddressConflict', 'somebody answers');
  await events.flush();
  const [{ body, name, namespace }] = kube.written as [Written];
  expect(name).toMatch(/^v\.[0-9a-f]{16}$/);
  // Objects without a namespace have their events in "default".
  expect(namespace).toBe('default');
  expect({ ...body, metadata: undefined, eventTime: undefined }).toStrictEqual({
    metadata: undefined,
    eventTime: undefined,
    reportingController: 'example.com/agent',
    reportingInstance: 'agent-n1',
    action: 'AddressConflict',
    reason: 'AddressConflict',
    note: 'somebody answers',
    type: 'Warning',
    regarding: { apiVersion: 'example.com/v1', kind: 'Widget', name: 'v', namespace: undefined, uid: 'u', resourceVersion: '7' },
  });
  expect(String(body.eventTime)).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
});

test('a repetition makes a series, written at once and then once a minute', async () => {
  jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate', 'setInterval', 'setTimeout'] });
  const { kube, events } = recorder();
  const say = async (times: number) => {
    for (let i = 0; i < times; i++) events.event(object, 'Warning', 'Broken', 'again');
    await events.flush();
  };
  await say(1);
  await say(1);
  await say(20);
  expect(kube.written.map(({ how }) => how)).toStrictEqual(['create', 'patch']);
  jest.advanceTimersByTime(61_000);
  await say(1);
  expect(kube.written).toHaveLength(3);
  expect((kube.written[2]?.body.series as { count: number } | undefined)?.count).toBe(23);
  expect(kube.written[2]?.name).toBe(kube.written[0]?.name);
});

test('what differs in reason, words, type or object is another event', async () => {
  const { kube, events } = recorder();
  events.event(object, 'Warning', 'A', 'a');
  events.event(object, 'Warning', 'B', 'a');
  events.event(object, 'Warning', 'A', 'b');
  events.event(object, 'Normal', 'A', 'a');
  events.event({ ...object, metadata: { name: 'v', uid: 'other' } }, 'Warning', 'A', 'a');
  await events.flush();
  expect(kube.written.filter(({ how }) => how === 'create')).toHaveLength(5);
});

test('long words are cut at the limit of the API server, in bytes, between characters', async () => {
  const { kube, events } = recorder();
  events.event(object, 'Normal', 'Long', 'ä€😀'.repeat(500));
  await events.flush();
  const note = String(kube.written[0]?.body.note);
  expect(Buffer.byteLength(note)).toBeLessThanOrEqual(1024);
  expect(Buffer.byteLength(note)).toBeGreaterThan(1010);
  expect(note.endsWith('…')).toBe(true);
  expect(note).not.toContain('\uFFFD');
});

test('the name of an event is one that the API server takes, however long that of the object is', async () => {
  const { kube, events } = recorder();
  for (const name of ['v', `${'v'.repeat(235)}.${'w'.repeat(17)}`, `${'v'.repeat(234)}--${'w'.repeat(17)}`])
    events.event({ ...object, metadata: { name, uid: name } }, 'Normal', 'Made', 'made');
  await events.flush();
  expect(kube.written.map(({ name }) => name.replace(/\.[0-9a-f]{16}$/, ''))).toStrictEqual(['v', 'v'.repeat(235), 'v'.repeat(234)]);
  for (const { name } of kube.written) expect(name.length).toBeLessThanOrEqual(253);
});

test('an event that cannot be written is logged, and told again when it happens again', async () => {
  const { kube, lines, events } = recorder();
  kube.fail = new KubeError(503, 'Unreachable', 'away');
  events.event(object, 'Normal', 'A', 'a');
  await events.flush();
  expect(lines).toStrictEqual(['event not written']);
  kube.fail = undefined;
  events.event(object, 'Normal', 'A', 'a');
  await events.flush();
  expect(kube.written.map(({ how }) => how)).toStrictEqual(['create']);
});

test('an event is written again when the server was away for a moment, or its answer was lost', async () => {
  const { kube, lines, events } = recorder();
  kube.next.push({ error: new KubeError(503, 'Unreachable', 'read ECONNRESET'), done: false });
  events.event(object, 'Normal', 'A', 'a');
  await events.flush();
  expect(kube.written).toHaveLength(1);

  kube.next.push(
    { error: new KubeError(504, 'NoAnswer', 'did not answer'), done: true },
    { error: new KubeError(409, 'AlreadyExists', 'exists'), done: false },
  );
  events.event(object, 'Normal', 'B', 'b');
  events.event(object, 'Normal', 'B', 'b');
  await events.flush();
  expect(kube.written.map(({ how }) => how)).toStrictEqual(['create', 'create', 'patch']);
  expect(lines).toStrictEqual([]);
});

test('an event has the time at which it happened, not that at which the server took it', async () => {
  jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate', 'setInterval', 'setTimeout'] });
  const { kube, events } = recorder();
  const happened = Date.now();
  events.event(object, 'Normal', 'A', 'a');
  events.event(object, 'Normal', 'B', 'b');
  jest.advanceTimersByTime(30_000);
  await events.flush();
  expect(kube.written.map(({ body }) => Date.parse(String(body.eventTime)))).toStrictEqual([happened, happened]);
});

test('an event that the server does not take is not waited for while many others wait', async () => {
  const { kube, lines, events } = recorder();
  for (let i = 0; i < 50; i++) kube.next.push({ error: new KubeError(503, 'Unreachable', 'away'), done: false });
  for (let i = 0; i < 60; i++) events.event(object, 'Normal', 'A', `a ${i}`);
  await events.flush();
  // The first 40 got one attempt each.
  expect(lines).toHaveLength(43);
  expect(kube.written).toHaveLength(17);
});

test('an event that the server refuses is not written again', async () => {
  const { kube, lines, events } = recorder();
  kube.next.push({ error: new KubeError(403, 'Forbidden', 'no'), done: false });
  events.event(object, 'Normal', 'A', 'a');
  await events.flush();
  expect(kube.written).toStrictEqual([]);
  expect(lines).toStrictEqual(['event not written']);
});

test('a series whose event the server has removed begins again', async () => {
  const { kube, events } = recorder();
  events.event(object, 'Normal', 'A', 'a');
  await events.flush();
  kube.fail = new KubeError(404, 'NotFound', 'gone');
  events.event(object, 'Normal', 'A', 'a');
  await events.flush();
  kube.fail = undefined;
  events.event(object, 'Normal', 'A', 'a');
  await events.flush();
  expect(kube.written.map(({ how }) => how)).toStrictEqual(['create', 'create']);
});

test('a flood is bounded, and never throws', async () => {
  const { kube, events } = recorder();
  for (let i = 0; i < 5_000; i++) events.event(object, 'Normal', 'A', `flood ${i}`);
  await events.flush();
  expect(kube.written.length).toBeGreaterThanOrEqual(200);
  expect(kube.written.length).toBeLessThan(1_000);
});

test('an event that a flood has crowded out is written once it is repeated', async () => {
  const { kube, events } = recorder();
  // The first repetitions are written, too, and leave no room for the rest.
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 300; i++) events.event(object, 'Warning', 'A', `flood ${i}`);
    await events.flush();
  }
  const created = kube.written.filter(({ how }) => how === 'create').map(({ body }) => body.note);
  expect(created).toHaveLength(300);
  expect(new Set(created).size).toBe(300);
});

test('a series goes on although the clock is set back', async () => {
  const { kube, events } = recorder();
  for (let i = 0; i < 5; i++) {
    if (i === 2)
      jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate', 'setTimeout'], now: Date.now() - 3_600_000 });
    events.event(object, 'Warning', 'Broken', 'again');
    await events.flush();
  }
  expect(kube.written.map(({ how }) => how)).toStrictEqual(['create', 'patch', 'patch']);
});
