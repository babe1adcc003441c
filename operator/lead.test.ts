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
    expect(done).toStrictEqual([]);
    lists[1]?.resolve();
    await leading;
    expect(done).toStrictEqual(['a', 'b']);
  });
});
