import { Timeline } from './timeline.ts';

describe('a timeline', () => {
  it('tells when all have reached a state, those that were there before too', async () => {
    const timeline = new Timeline(60_000);
    const started = performance.now();
    timeline.mark('pod ready', 'a');
    const both = timeline.reached('pod ready', ['a', 'b'], started);
    timeline.mark('pod gone', 'b');
    timeline.mark('pod ready', 'b');
    const { of, seconds } = await both;
    expect(of).toBe(2);
    expect(seconds).toHaveLength(2);
    expect(seconds.every((each) => each >= 0 && each <= (performance.now() - started) / 1000)).toBe(true);
  });

  it('counts the first time only', async () => {
    const timeline = new Timeline(60_000);
    const started = performance.now();
    timeline.mark('pod ready', 'a');
    const first = await timeline.reached('pod ready', ['a'], started);
    timeline.mark('pod ready', 'a');
    expect((await timeline.reached('pod ready', ['a'], started)).seconds).toStrictEqual(first.seconds);
  });

  it('gives up those that are missing when none comes for as long as patience lasts', async () => {
    const timeline = new Timeline(20);
    const some = timeline.reached('pod ready', ['a', 'b'], performance.now());
    timeline.mark('pod ready', 'b');
    const { of, seconds, waited } = await some;
    expect([of, seconds.length]).toStrictEqual([2, 1]);
    expect(waited).toBeGreaterThanOrEqual(0.019);
  });
});
