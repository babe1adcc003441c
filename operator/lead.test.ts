import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { lead } from './lead.ts';

describe('lead', () => {
  it('lists everything again before any controller works', async () => {
    const done: string[] = [];
    const lists = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const informers = lists.map(({ promise }) => ({ refresh: () => promise }));
    const controllers = ['a', 'b'].map((name) => ({ run: async () => void done.push(name) }));
    const leading = lead({ informers, controllers }, new AbortController().signal);
    lists[0]?.resolve();
    await new Promise(setImmediate);
    assert.deepEqual(done, []);
    lists[1]?.resolve();
    await leading;
    assert.deepEqual(done, ['a', 'b']);
  });
});
