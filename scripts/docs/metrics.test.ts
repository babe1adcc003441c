import { metricsPage } from './metrics.ts';

describe('the page of the metrics', () => {
  const page = metricsPage();

  it('has every program with its metrics, their kinds, labels and meanings', () => {
    expect(page).toMatch(/^## Operator\n/);
    expect(page).toContain('| `aoe_csi_volumes` | gauge | `phase`, `reason` | AoEVolumes by phase and, where not ready, reason. |');
    expect(page).toMatch(/\| `aoe_target_request_duration_seconds` \| histogram \| `volume`, .*`kind` \|/);
    expect(page).toMatch(/\| `aoe_target_bytes_total` \| counter \|/);
    expect(page).toMatch(/\| `aoe_csi_node_disk_down_seconds` \| gauge \|/);
    expect(page).toMatch(/\| `workqueue_depth` \| gauge \| `name` \|/);
  });

  it('has none without a meaning', () => expect(page).not.toMatch(/\| \|$/m));
});
