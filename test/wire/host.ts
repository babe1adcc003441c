// A host on the wire, for tests: `host.ts INTERFACE SHELF SLOT STEP…`, each step query, identify, acquire:NODE or
// release:NODE. Prints the results as a JSON list. With --nobody among the steps no answer is expected, and a wait is as short as in a
// program that asks. With --busy all threads of Node's pool have other work, the request is sent once, and the link goes down before the
// answer is read.
import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { acquire, escapeString, type Initiator, lockTime, release, withInitiator } from '../../aoe/mod.ts';

const [interfaceName = '', shelf, slot, ...words] = process.argv.slice(2);
const address = { shelf: Number(shelf), slot: Number(slot) };
const steps = words.filter((word) => !word.startsWith('--'));
const isBusy = words.includes('--busy');
/** An answer ends the wait. It may take so long on a machine that stands still for some seconds. */
const options = words.includes('--nobody') ? {} : isBusy ? { timeoutMs: 2_000, attempts: 1 } : { timeoutMs: 15_000 };

async function perform(initiator: Initiator, step: string): Promise<unknown> {
  const [kind = '', node = ''] = step.split(':');
  const owner = { node, nodeUID: `uid-${node}`, volumeUID: 'volume' };
  switch (kind) {
    case 'query':
      return (await initiator.query(address, options)).map(({ mac, error, string, sectors }) => ({
        mac,
        error,
        string: escapeString(string),
        sectors,
      }));
    case 'identify':
      return (await initiator.identify(address, options)).map(({ mac, identity }) => ({ mac, identity }));
    case 'acquire': {
      const { outcome, ...rest } = await acquire(initiator, address, owner, lockTime(), options);
      return { outcome, holder: 'holder' in rest ? rest.holder : undefined };
    }
    case 'release':
      return await release(initiator, address, owner, options);
    default:
      throw new RangeError(`no step "${kind}"`);
  }
}

/** Keeps all four threads of the pool, and more work waiting for them, until the returned function is called. */
async function occupyPool(): Promise<() => Promise<void>> {
  const pipe = join(tmpdir(), `busy-${process.pid}`);
  execFileSync('mkfifo', [pipe]);
  const opened = Array.from({ length: 8 }, () => open(pipe, 'r'));
  await delay(100);
  return async () => {
    const fd = openSync(pipe, constants.O_RDWR);
    for (const handle of await Promise.all(opened)) await handle.close();
    closeSync(fd);
    rmSync(pipe);
  };
}

async function run(step: string): Promise<unknown> {
  if (!isBusy) return await withInitiator([interfaceName], (initiator) => perform(initiator, step));
  const free = await occupyPool();
  try {
    return await withInitiator([interfaceName], async (initiator) => {
      const asking = perform(initiator, step);
      await delay(1_000);
      execFileSync('ip', ['link', 'set', interfaceName, 'down']);
      return await asking;
    });
  } finally {
    await free();
  }
}

const results: unknown[] = [];
for (const step of steps) results.push(await run(step));
console.log(JSON.stringify(results));
