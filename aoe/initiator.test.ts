import { setImmediate } from 'node:timers/promises';
import { Initiator } from './initiator.ts';
import { acquire, lockTime, release } from './lock/lock.ts';
import type { FrameSocket } from './net/socket.ts';
import { ModelTarget } from './testing/model-target.ts';
import { parseFrame } from './wire/header.ts';

const address = { shelf: 7, slot: 3 };
const owner = { node: 'n0', nodeUID: 'u', volumeUID: 'v' };

/** A cable to some targets that loses the frames it is told to lose. */
class FakeSocket implements FrameSocket {
  readonly interfaceName = 'fake0';
  readonly mac = '02:00:00:00:00:01';
  readonly targets: ModelTarget[];
  readonly tags: number[] = [];
  lose: (direction: 'request' | 'reply', count: number) => boolean = () => false;
  /** How many answers are handed over; the others wait for drain(), as they do where the pool's threads are busy. */
  told = Number.POSITIVE_INFINITY;
  readonly #unread: Uint8Array[] = [];
  #handler: (frame: Uint8Array) => void = () => {};
  #counts = { request: 0, reply: 0 };

  constructor(...targets: ModelTarget[]) {
    this.targets = targets;
  }

  send(frame: Uint8Array): void {
    this.tags.push(parseFrame(frame)?.header.tag ?? 0);
    if (this.lose('request', this.#counts.request++)) return;
    for (const target of this.targets) {
      const reply = target.answer(frame, address.shelf, address.slot);
      if (!reply || this.lose('reply', this.#counts.reply++)) continue;
      if (this.told-- <= 0) {
        this.#unread.push(reply);
        continue;
      }
      void setImmediate().then(() => {
        this.#handler(reply);
        this.#handler(reply);
      });
    }
  }

  drain(): void {
    for (const reply of this.#unread.splice(0)) this.#handler(reply);
  }

  onFrame(handler: (frame: Uint8Array) => void): void {
    this.#handler = handler;
  }

  close(): void {}
}

test('query() returns every target that answers, once each, in the order of their MACs', async () => {
  const socket = new FakeSocket(new ModelTarget('02:00:00:00:00:22'), new ModelTarget('02:00:00:00:00:11'));
  const replies = await new Initiator([socket]).query(address, { settleMs: 5 });
  expect(replies.map((each) => each.mac)).toStrictEqual(['02:00:00:00:00:11', '02:00:00:00:00:22']);
});

test('query() returns an empty list when nobody answers in time', async () => {
  const socket = new FakeSocket();
  expect(await new Initiator([socket]).query(address, { timeoutMs: 60, retransmitMs: 10 })).toStrictEqual([]);
  expect(socket.tags.length).toBeGreaterThanOrEqual(3);
  expect(new Set(socket.tags).size).toBe(socket.tags.length);
  for (const tag of socket.tags) expect(tag >>> 31).toBe(1);
});

test('query() sends all attempts, also when this process gets no CPU time for longer than they would take', async () => {
  const socket = new FakeSocket();
  socket.lose = () => {
    const end = performance.now() + 80;
    while (performance.now() < end);
    return true;
  };
  socket.targets.push(new ModelTarget('02:00:00:00:00:11'));
  expect(await new Initiator([socket]).query(address, { timeoutMs: 50, retransmitMs: 5, attempts: 4 })).toStrictEqual([]);
  expect(socket.tags).toHaveLength(4);
});

test('an answer that has arrived counts, also when nothing but drain() reads it', async () => {
  const socket = new FakeSocket(new ModelTarget('02:00:00:00:00:11'));
  socket.told = 0;
  expect(await new Initiator([socket]).query(address, { timeoutMs: 5, attempts: 1 })).toHaveLength(1);
  const [to] = await new Initiator([socket]).query(address, { settleMs: 1, retransmitMs: 5 });
  socket.tags.length = 0;
  expect(await new Initiator([socket]).query(address, { retransmitMs: 5, timeoutMs: 30_000, ...(to && { to }) })).toHaveLength(1);
  expect(socket.tags).toHaveLength(1);
});

test('further answers that have arrived in time count, also when only the first one was read', async () => {
  const socket = new FakeSocket(new ModelTarget('02:00:00:00:00:11'), new ModelTarget('02:00:00:00:00:22'));
  socket.told = 1;
  expect(await new Initiator([socket]).query(address, { settleMs: 20, retransmitMs: 500 })).toHaveLength(2);
});

test('the lock is taken within some repetitions, not after its limits, when nothing but drain() reads the answers', async () => {
  const socket = new FakeSocket(new ModelTarget('02:00:00:00:00:11'));
  socket.told = 0;
  const result = await acquire(new Initiator([socket]), address, owner, lockTime(), { settleMs: 1, retransmitMs: 5, timeoutMs: 30_000 });
  expect(result.outcome).toBe('held');
});

test('a lost answer to set-if-empty is not a conflict', async () => {
  const target = new ModelTarget('02:00:00:00:00:11');
  const socket = new FakeSocket(target);
  socket.lose = (direction, count) => direction === 'reply' && count === 1;
  const result = await acquire(new Initiator([socket]), address, owner, lockTime(), { settleMs: 1, retransmitMs: 5 });
  expect(result.outcome).toBe('held');
  expect((await release(new Initiator([socket]), address, owner, { settleMs: 1 })).outcome).toBe('released');
  expect(target.string.length).toBe(0);
});

test('a target that falls silent after the query leaves the lock uncertain', async () => {
  const socket = new FakeSocket(new ModelTarget('02:00:00:00:00:11'));
  socket.lose = (direction, count) => direction === 'request' && count > 0;
  const result = await acquire(new Initiator([socket]), address, owner, lockTime(), { settleMs: 1, retransmitMs: 5, timeoutMs: 30 });
  expect(result.outcome).toBe('unanswered');
});

test('an aborted exchange ends at once with the reason', async () => {
  const controller = new AbortController();
  const waiting = new Initiator([new FakeSocket()]).query(address, { signal: controller.signal });
  controller.abort(new Error('stop'));
  await expect(waiting).rejects.toThrow(/stop/);
});
