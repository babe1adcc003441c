import { collectedCounter, collectedHistogram, gauge, metricsText } from './metrics.ts';

async function lines(name: string): Promise<string[]> {
  return (await metricsText()).split('\n').filter((line) => line.startsWith(name));
}

test('counters and histograms that somebody else counts are asked for at each reading', async () => {
  let count = 0;
  collectedCounter('test_collected_total', 'Help.', ['who'], async (set) => {
    await Promise.resolve();
    if (count < 2) set({ who: 'a' }, 5 + count++);
  });
  expect(await lines('test_collected_total')).toStrictEqual(['test_collected_total{who="a"} 5']);
  expect(await lines('test_collected_total')).toStrictEqual(['test_collected_total{who="a"} 6']);
  expect(await lines('test_collected_total'), 'what is not told any more is gone').toStrictEqual([]);
});

test('readings at the same time each have the right values', async () => {
  const answers: (() => void)[] = [];
  collectedCounter('test_shared_total', 'Help.', [], async (set) => {
    // Later readings need not wait.
    if (answers.length < 2) await new Promise<void>((resolve) => answers.push(resolve));
    set({}, 5);
  });
  const readings = [lines('test_shared_total'), lines('test_shared_total')];
  while (answers.length < 2) await new Promise((resolve) => setImmediate(resolve));
  for (const answer of answers) answer();
  expect(await Promise.all(readings)).toStrictEqual([['test_shared_total 5'], ['test_shared_total 5']]);
});

test('buckets are cumulated, as Prometheus wants them', async () => {
  collectedHistogram<'who'>('test_collected_seconds', 'Help.', (set) => {
    set({ who: 'a' }, { bounds: [0.000004, 0.5], counts: [1, 2, 4], sum: 9.5 });
  });
  expect(await lines('test_collected_seconds')).toStrictEqual([
    'test_collected_seconds_bucket{who="a",le="0.000004"} 1',
    'test_collected_seconds_bucket{who="a",le="0.5"} 3',
    'test_collected_seconds_bucket{who="a",le="+Inf"} 7',
    'test_collected_seconds_sum{who="a"} 9.5',
    'test_collected_seconds_count{who="a"} 7',
  ]);
  expect(await lines('# TYPE test_collected_seconds')).toStrictEqual(['# TYPE test_collected_seconds histogram']);
});

test('a gauge may take its time', async () => {
  gauge('test_slow_gauge', 'Help.', [], async (set) => {
    await Promise.resolve();
    set({}, 3);
  });
  expect(await lines('test_slow_gauge')).toStrictEqual(['test_slow_gauge 3']);
});
