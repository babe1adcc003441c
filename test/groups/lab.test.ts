import { join } from 'node:path';
import { unavailable } from '../apiserver/server.ts';
import { runIsolated } from '../faults/fast/run-lab.ts';

const COUNT = process.env.SNAPSHOT_GROUPS ?? '12';
const LIMIT_MS = 900_000;
const skip = process.getuid?.() === 0 ? unavailable : 'needs root, for namespaces';

/** Promise 9 for groups, with real programs and a fake host. */
describe.skipIf(skip)('groups of snapshots in the lab of processes', () => {
  it(
    `${COUNT} groups are at one instant, or do not exist, and nothing is left of them`,
    async () => {
      const env = { SNAPSHOT_GROUPS: COUNT, SEED: process.env.SEED ?? '1' };
      const options = { name: 'groups', env, limitMs: LIMIT_MS - 5_000, signal: new AbortController().signal, report: console.log };
      const { output } = await runIsolated(join(import.meta.dirname, 'lab-main.ts'), options);
      expect(output).toMatch(/groups: right/);
    },
    LIMIT_MS,
  );
});
