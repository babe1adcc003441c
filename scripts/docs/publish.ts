// Puts the built site into the folder of all versions: publish.ts FOLDER VERSION. The workflow docs.yml pushes that folder.
import { join } from 'node:path';
import { addVersion } from './versions.ts';

const [folder, version] = process.argv.slice(2);
if (!folder || !version) throw new Error('usage: publish.ts FOLDER VERSION');
addVersion(folder, join(import.meta.dirname, '../../dist/docs/site'), version);
