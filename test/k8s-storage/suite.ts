import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { storageClass } from '../e2e/manifests.ts';
import { cached } from '../testbed/cache.ts';
import type { Cluster } from '../testbed/cluster.ts';
import { smallImage } from '../testbed/image/images.ts';
import { STORAGE_SUITE_KEY } from '../testbed/kit.ts';
import { keyOf } from '../testbed/paths.ts';
import { CommandError, run, runInNetns, sh } from '../testbed/process/shell.ts';
import { type Outcome, outcomesOf } from './report.ts';

/** What the suite is told of the driver. */
export const DRIVER = join(import.meta.dirname, 'driver.yaml');
/** The same for snapshots and clones. */
export const THIN_DRIVER = join(import.meta.dirname, 'thin.yaml');
/** The class that it names, whose pool can take snapshots. */
export const THIN_CLASS = storageClass('storage-suite-thin', { pool: 'thin' });
/** The class of limits that both name. */
export const LIMITS_CLASS = {
  apiVersion: 'storage.k8s.io/v1',
  kind: 'VolumeAttributesClass',
  metadata: { name: 'storage-suite-limits' },
  driverName: 'aoe.dev',
  parameters: { iops: '5000' },
};

const BUILD = join(import.meta.dirname, '../testbed/kit/build');
const BUILD_MS = 3_600_000;
/** The framework's own limit of one spec's steps is 5 minutes, and few specs have more than three. */
const SPEC_MS = 15 * 60_000;

/** Kubernetes' suite of tests for storage drivers (k8s.io/kubernetes/test/e2e/storage/external), built for the Kubernetes of the test bed. */
export class StorageSuite {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** Builds it when the cache does not have it: three minutes. */
  static async build(): Promise<StorageSuite> {
    const make = (folder: string) => run(BUILD, [folder, 'storage-suite'], { timeoutMs: BUILD_MS }).then(() => {});
    return new StorageSuite(await cached('storage-suite', STORAGE_SUITE_KEY, make));
  }

  /** Puts the images that the suite's pods run on all nodes. */
  async installImages(cluster: Cluster): Promise<void> {
    const names = (await this.#run(['-list-images'])).trim().split('\n');
    const folder = await cached('storage-images', keyOf([import.meta.filename], STORAGE_SUITE_KEY, ...names), async (made) => {
      for (const name of names) await smallImage(made, name, (root) => this.#fill(root), ['/agnhost']);
    });
    await Promise.all(
      cluster.nodes.map((node) =>
        cluster.guest(node).exec(`for a in '${folder}'/*.tar; do ctr -n k8s.io images import "$a"; done`, { timeoutMs: 300_000 }),
      ),
    );
  }

  /** BusyBox with its links, and the tests' own program: the images of the suite differ, but each of its pods runs on this one. */
  #fill(root: string): void {
    for (const name of ['bin', 'tmp', 'etc']) mkdirSync(join(root, name));
    cpSync('/bin/busybox', join(root, 'bin/busybox'));
    for (const applet of sh('/bin/busybox --list').trim().split('\n'))
      if (applet !== 'busybox') symlinkSync('busybox', join(root, 'bin', applet));
    // Some pods write with dd's nocache, which BusyBox does not know, and BusyBox's shell prefers what it has itself.
    for (const [name, program] of [
      ['sh', '/bin/dash'],
      ['dd', '/bin/dd'],
    ] as const) {
      rmSync(join(root, 'bin', name));
      copyFileSync(program, join(root, 'bin', name));
      for (const [library] of sh(`ldd ${program}`).matchAll(/(?<!\S)\/\S+/g)) {
        mkdirSync(join(root, dirname(library)), { recursive: true });
        copyFileSync(library, join(root, library));
      }
    }
    writeFileSync(join(root, 'bin/bash'), '#!/bin/sh\nexec /bin/sh "$@"\n', { mode: 0o755 });
    writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0:root:/:/bin/sh\n');
    writeFileSync(join(root, 'etc/group'), 'root:x:0:\n');
    cpSync(join(this.#folder, 'agnhost'), join(root, 'agnhost'));
    symlinkSync('agnhost', join(root, 'agnhost-2'));
  }

  /** Names of all specs for a driver. */
  async specs(manifest: string): Promise<string[]> {
    const outcomes = await this.#report(manifest, ['-ginkgo.dry-run', '-ginkgo.focus=External Storage'], (args) => this.#run(args));
    return [...outcomes.keys()];
  }

  /** Runs specs on the cluster, one after the other. @param names their names, or what these end with */
  async runSpecs(cluster: Cluster, manifest: string, names: readonly string[]): Promise<Map<string, Outcome>> {
    const limit = names.length * SPEC_MS;
    const args = [
      ...[`-kubeconfig=${cluster.kubeconfig}`, '-provider=skeleton', `-ginkgo.timeout=${limit}ms`],
      `-ginkgo.focus=(${names.map(literal).join('|')})$`,
    ];
    const outcomes = await this.#report(manifest, args, (all) =>
      runInNetns(join(this.#folder, 'storage-suite'), all, { timeoutMs: limit + 60_000 }).catch((error: unknown) => {
        // Specs failed: the report says which.
        if (!(error instanceof CommandError)) throw error;
      }),
    );
    const outcomeOf = (name: string): Outcome =>
      [...outcomes].find(([whole]) => whole.endsWith(name))?.[1] ?? { state: 'failed', seconds: 0, message: 'it did not run' };
    return new Map(names.map((name) => [name, outcomeOf(name)]));
  }

  #run(args: string[]): Promise<string> {
    return run(join(this.#folder, 'storage-suite'), args);
  }

  async #report(manifest: string, args: string[], execute: (args: string[]) => Promise<unknown>): Promise<Map<string, Outcome>> {
    const folder = mkdtempSync(join(tmpdir(), 'storage-suite-'));
    try {
      const report = join(folder, 'report.json');
      await execute([`-storage.testdriver=${manifest}`, `-ginkgo.json-report=${report}`, ...args]);
      return outcomesOf(readFileSync(report, 'utf8'));
    } finally {
      rmSync(folder, { recursive: true });
    }
  }
}

/** A regular expression of Go that matches the text alone. Ginkgo leaves out groups without a name, which reports show as a second space. */
function literal(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replace(/ +/g, ' +');
}
