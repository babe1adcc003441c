import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { runInLab } from './in-lab.ts';
import { OURS, startOurs } from './targets.ts';

const skip =
  process.getuid?.() !== 0 ? 'needs root, for network namespaces' : existsSync(OURS) ? false : 'aoe-target is not built: scripts/build.ts';

for (const mtu of [1500, 9000]) {
  test(`our target keeps every rule and serves every initiator at MTU ${mtu}`, { skip, timeout: 310_000 }, async (t) => {
    const results = await runInLab(startOurs, { mtu });
    t.diagnostic(`${results.length} checks`);
    assert.ok(results.length > 150, 'checks are missing');
    assert.deepEqual(
      results.filter(({ outcome }) => outcome !== 'pass'),
      [],
    );
  });
}
