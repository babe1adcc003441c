import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { runInLab } from './in-lab.ts';
import { OURS, ours, type StartTarget, startOurs } from './targets.ts';

const skip =
  process.getuid?.() !== 0 ? 'needs root, for network namespaces' : existsSync(OURS) ? false : 'aoe-target is not built: scripts/build.ts';

/** More sectors than 28 and 32 bits can count. */
const LARGE = 3 * 2 ** 40;
const CASES: [name: string, start: StartTarget, mtu: number][] = [
  ['at MTU 1500', startOurs, 1500],
  ['at MTU 9000', startOurs, 9000],
  ['with a disk of 3 TiB', ours({ bytes: LARGE }), 9000],
  ['without io_uring', ours({ args: ['--no-uring'] }), 9000],
];

for (const [name, start, mtu] of CASES) {
  test(`our target keeps every rule and serves every initiator ${name}`, { skip, timeout: 310_000 }, async (t) => {
    const results = await runInLab(start, { mtu });
    t.diagnostic(`${results.length} checks`);
    assert.ok(results.length > 150, 'checks are missing');
    assert.deepEqual(
      results.filter(({ outcome }) => outcome !== 'pass'),
      [],
    );
  });
}

test('a target that falls silent is reported, and the run ends', { skip, timeout: 60_000 }, async () => {
  // It dies a moment after the first write: long before the last check.
  const dying: StartTarget = (lab) => {
    const disk = lab.disk('disk', 1 << 20);
    const serve = `'${OURS}' --interface target0 --state '${lab.directory}/state' --export '7.3=${disk}' &`;
    lab.start('bash', '-c', `${serve} until [ "$(stat -c %b '${disk}')" -gt 0 ]; do sleep 0.02; done; kill -9 $!`);
    return 'false';
  };
  const results = await runInLab(dying, { mtu: 1500 });
  assert.equal(results.filter(({ name, outcome }) => name === 'goes on answering' && outcome === 'deviates').length, 1);
  assert.equal(results.at(-1)?.outcome, 'not tried');
});
