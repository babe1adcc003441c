// pack-chart.ts ARCHIVE: packs the chart with the image REPOSITORY@DIGEST of the environment, once the index of all platforms is pushed.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packChart } from './chart.ts';

const [archive] = process.argv.slice(2);
const { REPOSITORY, DIGEST } = process.env;
if (!archive || !REPOSITORY || !DIGEST) throw new Error('usage: REPOSITORY=… DIGEST=sha256:… pack-chart.ts ARCHIVE');
const scratch = mkdtempSync(join(tmpdir(), 'aoe-csi-chart-'));
try {
  packChart(archive, { repository: REPOSITORY, digest: DIGEST, scratch });
} finally {
  rmSync(scratch, { recursive: true });
}
