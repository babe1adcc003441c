import { setImmediate as turn } from 'node:timers/promises';
import { pull } from './pull.ts';

const { signal } = new AbortController();

describe('pull', () => {
  it('gives what the work hands over, in order, and the work waits until each is taken', async () => {
    let pushed = 0;
    const numbers = pull<number>(async (push) => {
      for (; pushed < 4; pushed++) await push(pushed);
    }, signal);
    const seen: number[] = [];
    for await (const each of numbers) {
      await turn();
      expect(pushed).toBe(each);
      seen.push(each);
    }
    expect(seen).toStrictEqual([0, 1, 2, 3]);
  });

  it('fails as the work fails, after what was handed over before', async () => {
    const seen: string[] = [];
    const read = async (): Promise<void> => {
      const items = pull<string>(async (push) => {
        await push('a');
        throw new Error('broken');
      }, signal);
      for await (const each of items) seen.push(each);
    };
    await expect(read()).rejects.toThrow('broken');
    expect(seen).toStrictEqual(['a']);
  });

  it('stops the work when nobody reads any more, and ends after the work', async () => {
    const order: string[] = [];
    const items = pull<string>(async (push, stop) => {
      try {
        await push('a');
        // As a program that has more to say.
        await new Promise((_, reject) => stop.addEventListener('abort', () => reject(stop.reason as Error)));
      } finally {
        await turn();
        order.push('cleaned up');
      }
    }, signal);
    for await (const _ of items) break;
    order.push('left');
    expect(order).toStrictEqual(['cleaned up', 'left']);
  });

  it('fails with the reason of the signal', async () => {
    const stop = new AbortController();
    const items = pull<string>(async (push, stopped) => {
      await push('a');
      await new Promise((_, reject) => stopped.addEventListener('abort', () => reject(stopped.reason as Error)));
    }, stop.signal);
    await expect(
      (async () => {
        for await (const _ of items) stop.abort(new Error('enough'));
      })(),
    ).rejects.toThrow('enough');
  });
});
