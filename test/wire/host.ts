// A host on the wire, for tests: `host.ts INTERFACE SHELF SLOT STEP…`, each step query, identify, acquire:NODE or
// release:NODE. Prints the results as a JSON list. With --nobody among the steps no answer is expected, and a wait is as short as in a
// program that asks.
import { acquire, escapeString, type Initiator, lockTime, release, withInitiator } from '../../aoe/mod.ts';

const [interfaceName = '', shelf, slot, ...words] = process.argv.slice(2);
const address = { shelf: Number(shelf), slot: Number(slot) };
const steps = words.filter((word) => word !== '--nobody');
/** An answer ends the wait. It may take so long on a machine that stands still for some seconds. */
const options = steps.length < words.length ? {} : { timeoutMs: 15_000 };

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

const results: unknown[] = [];
for (const step of steps) results.push(await withInitiator([interfaceName], (initiator) => perform(initiator, step)));
console.log(JSON.stringify(results));
