import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { parse, parseAllDocuments, stringify } from 'yaml';
import { KIT, kitVersion } from '../testbed/kit.ts';

export const CHART = join(import.meta.dirname, '../../charts/aoe-csi');
/** `helm template` cannot ask a cluster for it. */
const KUBE_VERSION = kitVersion('k8s.io/kubernetes');

/** Helm and Kubernetes read YAML 1.1, where `on` and `n` are no names unless they are quoted. */
const YAML_OF_HELM = { version: '1.1' } as const;

/** A manifest, as loosely typed as YAML is. */
// biome-ignore lint/suspicious/noExplicitAny: rendered YAML has no type.
export type Manifest = any;

/**
 * Path of a program of the kit (helm, csi-provisioner, ...).
 * @throws Error when the kit has not been built
 */
export function kitProgram(name: string): string {
  const path = join(KIT, name);
  if (!existsSync(path)) throw new Error(`${path} is not there: "make demo-up" builds the kit`);
  return path;
}

async function withValues<R>(values: object, use: (file: string) => Promise<R>): Promise<R> {
  const folder = mkdtempSync(join(tmpdir(), 'aoe-csi-chart-'));
  try {
    const file = join(folder, 'values.yaml');
    writeFileSync(file, stringify(values, YAML_OF_HELM));
    return await use(file);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** What the cluster has beside the APIs of Kubernetes itself when the CRDs of snapshots are installed. */
export const SNAPSHOT_API = ['snapshot.storage.k8s.io/v1'];
export const GROUP_SNAPSHOT_API = ['groupsnapshot.storage.k8s.io/v1'];

/** Containers of the controller that are Kubernetes' own. */
export const SIDECARS = ['csi-provisioner', 'csi-attacher', 'csi-resizer', 'csi-snapshotter'];

const run = promisify(execFile);

interface RenderOptions {
  chart?: string;
  kubeVersion?: string;
  /** Groups and versions of APIs that the cluster has beside those of Kubernetes itself. */
  apis?: readonly string[];
  namespace?: string;
  release?: string;
}

/** Renders the chart, or another one. Rejects with helm's message when it refuses the values. */
export function render(
  values: object = {},
  { chart = CHART, kubeVersion = KUBE_VERSION, apis = [], namespace = 'aoe', release = 'release' }: RenderOptions = {},
): Promise<Manifest[]> {
  return withValues(values, async (file) => {
    const command = ['template', release, chart, '--namespace', namespace, '--kube-version', kubeVersion, '--values', file];
    for (const api of apis) command.push('--api-versions', api);
    const { stdout } = await run(kitProgram('helm'), command, { timeout: 60_000, maxBuffer: 16 << 20 });
    return parseAllDocuments(stdout, YAML_OF_HELM)
      .map((document) => document.toJS())
      .filter((manifest) => manifest !== null);
  });
}

/** Renders a chart that has ours as a dependency with the condition `aoe-csi.enabled`. */
export async function renderParent(values: object): Promise<Manifest[]> {
  const parent = mkdtempSync(join(tmpdir(), 'aoe-csi-parent-'));
  try {
    const { version } = parse(readFileSync(join(CHART, 'Chart.yaml'), 'utf8'));
    const dependencies = [{ name: 'aoe-csi', version, repository: `file://${CHART}`, condition: 'aoe-csi.enabled' }];
    writeFileSync(join(parent, 'Chart.yaml'), stringify({ apiVersion: 'v2', name: 'parent', version: '1.0.0', dependencies }));
    cpSync(CHART, join(parent, 'charts/aoe-csi'), { recursive: true });
    return await render(values, { chart: parent });
  } finally {
    rmSync(parent, { recursive: true });
  }
}

/** `helm lint --strict`: resolves with its output, rejects when it finds something. */
export function lint(values: object = {}): Promise<string> {
  return withValues(
    values,
    async (file) => (await run(kitProgram('helm'), ['lint', '--strict', CHART, '--values', file], { timeout: 60_000 })).stdout,
  );
}

/** What `PROGRAM --help` prints, on either stream, whatever its exit status. */
export async function helpOf(path: string): Promise<string> {
  const { stdout, stderr } = await run(path, ['--help'], { timeout: 60_000 }).catch((error: { stdout: string; stderr: string }) => error);
  return stdout + stderr;
}

/** The manifest of a kind, with this name if one is given. */
export const of = (manifests: Manifest[], kind: string, name?: string): Manifest =>
  manifests.find((manifest) => manifest.kind === kind && (name === undefined || manifest.metadata.name === name)) ??
  assert.fail(`no ${kind} ${name ?? ''} among the manifests`);

/** The specs of all pods, those in templates included. */
export const podSpecs = (manifests: Manifest[]): Manifest[] =>
  manifests.flatMap((manifest) =>
    manifest.kind === 'Pod' ? [manifest.spec] : manifest.spec?.template ? [manifest.spec.template.spec] : [],
  );

/** All containers of all pods. */
export const containers = (manifests: Manifest[]): Manifest[] => podSpecs(manifests).flatMap((spec) => spec.containers);

/** The container of a name. */
export const container = (manifests: Manifest[], name: string): Manifest =>
  containers(manifests).find((candidate) => candidate.name === name) ?? assert.fail(`no container ${name}`);
