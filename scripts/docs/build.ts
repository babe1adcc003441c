// Builds the site of the documentation: build.ts. dist/docs/site/ has it. GITHUB_REPOSITORY and GITHUB_REF_NAME, where they are set, say
// where the links to sources lead.
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { stage } from './stage.ts';

const ROOT = join(import.meta.dirname, '../..');
const FOLDER = join(ROOT, 'dist/docs');
const REQUIREMENTS = join(ROOT, 'docs/requirements.txt');
/** Of each command, in milliseconds. */
const LIMIT_MS = 300_000;

/** Shows what a command prints only when it fails. */
function run(program: string, args: readonly string[], cwd = ROOT): string {
  try {
    return execFileSync(program, args, {
      cwd,
      timeout: LIMIT_MS,
      encoding: 'utf8',
      stdio: 'pipe',
      env: { ...process.env, NO_COLOR: '1', NO_MKDOCS_2_WARNING: '1' },
    });
  } catch (error) {
    const { stdout = '', stderr = '', message } = error as { stdout?: string; stderr?: string; message: string };
    throw new Error(`${message}\n${stdout}\n${stderr}`);
  }
}

/** The site's builder in a Python environment of its own, made again when its packages change. */
function builder(): string {
  const environment = join(FOLDER, 'python');
  const stamp = join(environment, 'requirements.txt');
  if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== readFileSync(REQUIREMENTS, 'utf8')) {
    console.log('Installing the Python packages that build the site (about 15 seconds)');
    rmSync(environment, { recursive: true, force: true });
    run('python3', ['-m', 'venv', environment]);
    run(join(environment, 'bin/pip'), [
      ...['install', '--quiet', '--disable-pip-version-check', '--no-deps', '--require-hashes', '--only-binary=:all:'],
      ...['--requirement', REQUIREMENTS],
    ]);
    cpSync(REQUIREMENTS, stamp);
  }
  return join(environment, 'bin/mkdocs');
}

const { GITHUB_REPOSITORY: name, GITHUB_REF_NAME: ref = 'main', GITHUB_SERVER_URL: server = 'https://github.com' } = process.env;
const mkdocs = builder();
const source = join(FOLDER, 'source');
stage(source, name ? `${server}/${name}/blob/${ref}` : undefined);
const site = join(FOLDER, 'site');
// A wrong link or anchor is a warning, and --strict makes warnings fail.
run(mkdocs, ['build', '--clean', '--strict', '--config-file', 'mkdocs.yml', '--site-dir', site], source);
console.log(`The site is in ${site}`);
