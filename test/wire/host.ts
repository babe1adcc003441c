// A host on the wire, for tests: `host.ts INTERFACE SHELF SLOT STEP…`, each step query, identify, acquire:NODE or
// release:NODE. Prints the results as a JSON list.
import { acquire, escapeString, type Initiator, lockTime, release, withInitiator } from '../../aoe/mod.ts';

const [interfaceName = '', shelf, slot, ...steps] = process.argv.slice(2);
const address = { shelf: Number(shelf), slot: Number(slot) };

async function perform(initiator: Initiator, step: string): Promise<unknown> {
  const [kind = '', node = ''] = step.split(':');
  const owner = { node, nodeUID: `uid-${node}`, volumeUID: 'volume' };
  switch (kind) {
    case 'query':
      return (await initiator.query(address)).map(({ mac, error, string, sectors }) => ({
        mac,
        error,
        string: escapeString(string),
        sectors,
      }));
    case 'identify':
      return (await initiator.identify(address)).map(({ mac, identity }) => ({ mac, identity }));
    case 'acquire': {
      const { outcome, ...rest } = await acquire(initiator, address, owner, lockTime());
      return { outcome, holder: 'holder' in rest ? rest.holder : undefined };
    }
    case 'release':
      return await release(initiator, address, owner);
    default:
      throw new RangeError(`no step "${kind}"`);
  }
}

const results: unknown[] = [];
for (const step of steps) results.push(await withInitiator([interfaceName], (initiator) => perform(initiator, step)));
console.log(JSON.stringify(results));
