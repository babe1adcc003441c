import { existsSync } from 'node:fs';
import { runInLab } from './run-in-lab.ts';
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
  test.skipIf(skip)(
    `our target keeps every rule and serves every initiator ${name}`,
    async () => {
      const results = await runInLab(start, { mtu, answerMs: 10_000 });
      console.log(`${results.length} checks`);
      expect(results.length, 'checks are missing').toBeGreaterThan(150);
      expect(results.filter(({ outcome }) => outcome !== 'pass')).toStrictEqual([]);
    },
    910_000,
  );
}

test.skipIf(skip)(
  'a target that falls silent is reported, and the run ends',
  async () => {
    // It dies a moment after the first write: long before the last check.
    const dying: StartTarget = (lab) => {
      const disk = lab.disk('disk', 1 << 20);
      const serve = `'${OURS}' --interface target0 --state '${lab.directory}/state' --export '7.3=${disk}' &`;
      lab.start('bash', '-c', `${serve} until [ "$(stat -c %b '${disk}')" -gt 0 ]; do sleep 0.02; done; kill -9 $!`);
      return 'false';
    };
    const results = await runInLab(dying, { mtu: 1500 });
    expect(results.filter(({ name, outcome }) => name === 'goes on answering' && outcome === 'deviates')).toHaveLength(1);
    expect(results.at(-1)?.outcome).toBe('not tried');
  },
  180_000,
);
