import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** An entry of versions.json, which the site's menu of versions reads; the format is that of mike. */
interface Version {
  readonly version: string;
  readonly title: string;
  readonly aliases: readonly string[];
}

/** Name under which the newest version can be found always. */
const LATEST = 'latest';

/** The newest first. */
function byAge(a: Version, b: Version): number {
  return b.version.localeCompare(a.version, 'en', { numeric: true });
}

function redirect(to: string): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>aoe-csi</title>
<link rel="icon" href="data:,">
<meta http-equiv="refresh" content="0; url=${to}">
<a href="${to}">aoe-csi</a>
</html>
`;
}

/**
 * Puts a built site into the folder of all versions: below its version, and below `latest` when none is newer. The start page leads to
 * the newest.
 * @param version such as 0.1, or v0.1.3: all releases 0.1.x share a place
 * @throws RangeError when that is no version
 */
export function addVersion(folder: string, site: string, version: string): void {
  const name = /^v?(\d+\.\d+)(?:\.\d+)?$/.exec(version)?.[1];
  if (name === undefined) throw new RangeError(`"${version}" is no version such as 0.1 or v0.1.3`);
  const list = join(folder, 'versions.json');
  const known: Version[] = existsSync(list) ? JSON.parse(readFileSync(list, 'utf8')) : [];
  const all = [...known.filter((each) => each.version !== name), { version: name, title: name, aliases: [] }]
    .toSorted(byAge)
    .map((each, index) => ({ ...each, aliases: index === 0 ? [LATEST] : [] }));
  const places = all[0]?.version === name ? [name, LATEST] : [name];
  mkdirSync(folder, { recursive: true });
  for (const place of places) {
    rmSync(join(folder, place), { recursive: true, force: true });
    cpSync(site, join(folder, place), { recursive: true });
  }
  writeFileSync(list, `${JSON.stringify(all, undefined, 2)}\n`);
  writeFileSync(join(folder, 'index.html'), redirect(`${LATEST}/`));
}
