import { type Manifest, render } from './helm.ts';
import { DOCUMENTED, metricsOf } from './promql.ts';

interface Dashboard {
  uid: string;
  title: string;
  templating: { list: { name: string; query: string | { query: string } }[] };
  panels: {
    id: number;
    title: string;
    gridPos: { x: number; y: number; w: number; h: number };
    targets: { expr: string; legendFormat: string }[];
  }[];
}

async function dashboards(settings: object = {}): Promise<{ manifest: Manifest; dashboard: Dashboard }[]> {
  const manifests = await render({ metrics: { dashboards: { enabled: true, ...settings } } });
  return manifests
    .filter(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name.endsWith('-dashboard'))
    .map((manifest) => ({ manifest, dashboard: JSON.parse(String(Object.values(manifest.data)[0])) as Dashboard }));
}

describe('the dashboards', () => {
  it('are not made unasked; asked for, Grafana finds them by a label', async () => {
    expect((await render()).filter(({ metadata }) => metadata.name.endsWith('-dashboard'))).toStrictEqual([]);
    const made = await dashboards({ namespace: 'monitoring', labels: { grafana_dashboard: 'here' }, annotations: { folder: 'storage' } });
    expect(made.map(({ dashboard }) => dashboard.uid)).toStrictEqual(['aoe-csi-cluster', 'aoe-csi-segment', 'aoe-csi-volume']);
    for (const { manifest } of made) {
      expect(manifest.metadata).toMatchObject({
        namespace: 'monitoring',
        labels: { grafana_dashboard: 'here' },
        annotations: { folder: 'storage' },
      });
    }
  });

  it('show metrics that there are, in PromQL', async () => {
    for (const { dashboard } of await dashboards()) {
      for (const { title, targets } of dashboard.panels) {
        for (const { expr } of targets) {
          const names = metricsOf(expr.replaceAll('$__rate_interval', '5m'));
          expect(names.length, title).toBeGreaterThan(0);
          for (const name of names) expect(DOCUMENTED.has(name), `${dashboard.title}, ${title}: ${name}`).toBe(true);
          expect(expr).not.toMatch('$NAMESPACE');
        }
      }
    }
  });

  it('use in a legend only labels that the expression leaves, and only variables that there are', async () => {
    for (const { dashboard } of await dashboards()) {
      const variables = dashboard.templating.list.map(({ name }) => `$${name}`);
      for (const { title, targets } of dashboard.panels) {
        for (const { expr, legendFormat } of targets) {
          const grouped = /\bby \(([^)]*)\)/.exec(expr)?.[1]?.split(/, */);
          const used = [...legendFormat.matchAll(/{{(\w+)}}/g)].map(([, label = '']) => label);
          if (grouped) expect(grouped, title).toStrictEqual(expect.arrayContaining(used));
          for (const [variable] of expr.matchAll(/\$(?!__)\w+/g)) expect(variables, title).toContain(variable);
        }
      }
    }
  });

  it('have panels beside and below one another, none over another', async () => {
    for (const { dashboard } of await dashboards()) {
      const taken = new Set<string>();
      for (const { title, gridPos } of dashboard.panels) {
        expect(gridPos.x + gridPos.w, title).toBeLessThanOrEqual(24);
        for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
          for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
            expect(taken.has(`${x},${y}`), title).toBe(false);
            taken.add(`${x},${y}`);
          }
        }
      }
    }
  });
});
