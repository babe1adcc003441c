import { basename, join } from 'node:path';
import { bundle } from '../../scripts/bundle.ts';
import { ROOT } from '../testbed/paths.ts';

/**
 * Makes one file of each of these programs of this folder. In a guest Node starts it several times faster than the modules apart: each
 * file that a guest reads comes from the host.
 * @param names such as `lvm-inside.ts`
 * @returns the path of the first one; the others are beside it
 */
export async function programInside(...names: [string, ...string[]]): Promise<string> {
  const folder = join(ROOT, 'dist/guest');
  const entries = names.map((name) => ({ in: join(import.meta.dirname, name), out: basename(name, '.ts') }));
  await bundle(entries, folder);
  return join(folder, `${entries[0]?.out}.js`);
}
