import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Kube } from '../kube/mod.ts';
import type { Flags } from '../run/config.ts';
import { main } from '../run/main.ts';
import { type Definition, upgradeDefinitions } from './upgrade.ts';

/** For all definitions together, in milliseconds: less than the 5 minutes that Helm waits for the chart's job. */
const LIMIT_MS = 150_000;

const flags = {
  directory: { default: '/crds', help: 'directory with the CustomResourceDefinitions, one in each *.json' },
  kubeconfig: { default: '', help: "kubeconfig file; the pod's service account when empty" },
} as const satisfies Flags;

await main('aoe-csi-crds', flags, async ({ config, log, signal }) => {
  const names = (await readdir(config.directory)).filter((name) => name.endsWith('.json')).toSorted();
  if (names.length === 0) throw new Error(`there is no *.json in ${config.directory}`);
  const definitions = await Promise.all(
    names.map(async (name) => JSON.parse(await readFile(join(config.directory, name), 'utf8')) as Definition),
  );
  const kube = Kube.fromCluster(config.kubeconfig, { log, userAgent: 'aoe-csi-crds' });
  await upgradeDefinitions(kube, definitions, { log, signal: AbortSignal.any([signal, AbortSignal.timeout(LIMIT_MS)]) });
});
