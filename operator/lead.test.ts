import { Lead, lead } from './lead.ts';

describe('lead', () => {
  it('lists everything again before any controller works', async () => {
    const done: string[] = [];
    const lists = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const informers = lists.map(({ promise }) => ({ refresh: () => promise }));
    const controllers = ['a', 'b'].map((name) => ({ run: async () => void done.push(name) }));
    const leading = lead({ informers, controllers, ours: new Lead() }, new AbortController().signal);
    lists[0]?.resolve();
    await new Promise(setImmediate);
    expect(done).toStrictEqual([]);
    lists[1]?.resolve();
    await leading;
    expect(done).toStrictEqual(['a', 'b']);
  });

  it('is ours from the first work until the lease is lost, even while work goes on, or until the work fails', async () => {
    const ours = new Lead();
    const [list, work, lease] = [Promise.withResolvers<void>(), Promise.withResolvers<void>(), new AbortController()];
    const leading = lead({ informers: [{ refresh: () => list.promise }], controllers: [{ run: () => work.promise }], ours }, lease.signal);
    expect(ours.isOurs).toBe(false);
    list.resolve();
    await new Promise(setImmediate);
    expect(ours.isOurs).toBe(true);
    lease.abort();
    expect(ours.isOurs).toBe(false);
    work.resolve();
    await leading;

    const failing = lead(
      { informers: [], controllers: [{ run: () => Promise.reject(new Error('no')) }], ours },
      new AbortController().signal,
    );
    await expect(failing).rejects.toThrow('no');
    expect(ours.isOurs).toBe(false);
  });
});
