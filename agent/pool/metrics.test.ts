import { metricsText } from '../../run/metrics.ts';
import { PoolMetrics } from './metrics.ts';

test('the last measurement of each pool is shown, in bytes and ratios, until the pool is gone', async () => {
  const metrics = new PoolMetrics();
  metrics.register();
  const read = async () => (await metricsText()).split('\n').filter((line) => /^aoe_agent_(pool|thin)/.test(line));
  metrics.note('fast', {
    name: 'n',
    ready: true,
    size: '10Mi',
    free: '1Mi',
    volumes: 2,
    orphans: ['x'],
    orphaned: '4Ki',
    snapshots: { possible: true, count: 4, orphans: ['s', 't', 'u'] },
    displaced: ['y', 'z'],
    dataPercent: '50.00',
    canFill: false,
  });
  expect(await read()).toStrictEqual([
    'aoe_agent_pool_ready{pool="fast"} 1',
    'aoe_agent_pool_size_bytes{pool="fast"} 10485760',
    'aoe_agent_pool_free_bytes{pool="fast"} 1048576',
    'aoe_agent_pool_volumes{pool="fast"} 2',
    'aoe_agent_pool_orphans{pool="fast"} 1',
    'aoe_agent_pool_orphaned_bytes{pool="fast"} 4096',
    'aoe_agent_pool_orphaned_snapshots{pool="fast"} 3',
    'aoe_agent_pool_displaced{pool="fast"} 2',
    'aoe_agent_thin_pool_used_ratio{pool="fast",part="data"} 0.5',
    'aoe_agent_thin_pool_can_fill{pool="fast",part="data"} 0',
  ]);
  metrics.note('fast', undefined);
  expect(await read()).toStrictEqual([]);
});
