import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseDocument } from 'yaml';
import { REPRODUCIBLE } from '../../test/testbed/image/oci.ts';
import { sh } from '../../test/testbed/process/shell.ts';

const CHART = join(import.meta.dirname, '../../charts/aoe-csi');

export interface Pin {
  readonly repository: string;
  /** Of the image there, `sha256:…`. */
  readonly digest: string;
}

/** The chart's values.yaml with the image that belongs to this release; its comments stay. */
export function pinned(values: string, { repository, digest }: Pin): string {
  const document = parseDocument(values);
  document.setIn(['image', 'repository'], repository);
  document.setIn(['image', 'digest'], digest);
  return document
    .toString({ lineWidth: 0 })
    .replace(/^# Image of all programs .*$/m, '# Image of all programs of this project (operator, csi, agent, target), of this release.');
}

/**
 * Packs the chart with its image pinned: the same archive from the same files, which `helm package` does not give.
 * @param path of the archive to write
 * @param scratch a folder for intermediate files
 */
export function packChart(path: string, { scratch, ...pin }: Pin & { scratch: string }): void {
  const folder = join(scratch, 'aoe-csi');
  cpSync(CHART, folder, { recursive: true });
  writeFileSync(join(folder, 'values.yaml'), pinned(readFileSync(join(CHART, 'values.yaml'), 'utf8'), pin));
  sh(`tar ${REPRODUCIBLE} -C '${scratch}' -cf - aoe-csi | gzip -n -9 >'${path}'`);
}
