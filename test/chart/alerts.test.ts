import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../docs/pages.ts';
import { type Manifest, render } from './helm.ts';
import { DOCUMENTED, metricsOf } from './promql.ts';

const page = (name: string) => readFileSync(join(ROOT, 'docs', name), 'utf8');
async function rules(settings: object = {}): Promise<Manifest[]> {
  const manifests = await render({ metrics: { prometheusRule: { enabled: true, ...settings } } });
  return manifests.find(({ kind }) => kind === 'PrometheusRule').spec.groups[0].rules;
}

describe('the alerts', () => {
  it('are not made unasked', async () => {
    expect((await render()).filter(({ kind }) => kind === 'PrometheusRule')).toStrictEqual([]);
  });

  it('are PromQL about metrics that there are', async () => {
    for (const { alert, expr } of await rules()) {
      const names = metricsOf(expr);
      expect(names.length, alert).toBeGreaterThan(0);
      for (const name of names) expect(DOCUMENTED.has(name), `${alert}: ${name}`).toBe(true);
      expect(expr, alert).not.toMatch('$NAMESPACE');
    }
  });

  it('use in their texts only labels that their expression leaves', async () => {
    for (const { alert, expr, annotations } of await rules()) {
      const grouped = [...(/\bby \(([^)]*)\)/.exec(expr)?.[1]?.split(/, */) ?? [])];
      const used = [...JSON.stringify(annotations).matchAll(/\$labels\.(\w+)/g)].map(([, label = '']) => label);
      if (grouped.length > 0) expect(grouped, alert).toStrictEqual(expect.arrayContaining(used));
    }
  });

  it('have each a page part that says what to do', async () => {
    const headings = [...page('alerts.md').matchAll(/^## (\w+)$/gm)].map(([, name]) => name);
    expect(headings).toStrictEqual((await rules()).map(({ alert }) => alert));
    const parts = page('alerts.md').split(/^## /m).slice(1);
    for (const part of parts) for (const word of ['**Means:**', '**Do:**']) expect(part).toMatch(word);
  });

  it('can be changed, removed and linked, each by its name', async () => {
    const alerts = {
      AoEPoolNearlyFull: { for: '1h', severity: 'info', expr: 'aoe_agent_pool_free_bytes < 5e9' },
      AoEOrphanedData: { enabled: false },
    };
    const changed = await rules({ runbookURL: 'https://example.org/alerts', alerts });
    const names = changed.map(({ alert }) => alert);
    expect(names).not.toContain('AoEOrphanedData');
    expect(changed.find(({ alert }) => alert === 'AoEPoolNearlyFull')).toMatchObject({
      for: '1h',
      expr: 'aoe_agent_pool_free_bytes < 5e9',
      labels: { severity: 'info' },
      annotations: { runbook_url: 'https://example.org/alerts#aoepoolnearlyfull' },
    });
    await expect(rules({ alerts: { AoEPoolFull: {} } })).rejects.toThrow(/AoEPoolFull: there is no such alert; there are AoETargetDown/);
  });
});
