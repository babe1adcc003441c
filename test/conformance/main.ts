// Whether a target keeps to the AoE protocol as initiators need it:
//   main.ts --interface IF --shelf S --slot N [--profile NAME]... [--restart COMMAND] [--answer-ms MS] [--json]
// Profiles: rules, linux, aoetools, ipxe, windows, plan9, illumos, macos, openbsd; all without the option. COMMAND ends the target
// and starts it again in the background. An answer may take 1500 ms, or MS. What is written over on the disk is put back at the
// end: still, use no disk that matters. Ends with 1 when the target deviates.
import { execFile } from 'node:child_process';
import { parseArgs, promisify } from 'node:util';
import { listInterfaces, selectInterfaces } from '../../aoe/mod.ts';
import { groupsFor } from './groups.ts';
import { type Result, run } from './run.ts';
import { Session } from './session.ts';

const call = promisify(execFile);
const { values } = parseArgs({
  options: {
    interface: { type: 'string' },
    shelf: { type: 'string' },
    slot: { type: 'string' },
    profile: { type: 'string', multiple: true, default: [] },
    restart: { type: 'string' },
    'answer-ms': { type: 'string', default: '1500' },
    json: { type: 'boolean', default: false },
  },
});

async function main(): Promise<number> {
  const [shelf, slot] = [Number(values.shelf), Number(values.slot)];
  if (!values.interface || !(shelf >= 0 && shelf < 0xffff) || !(slot >= 0 && slot < 0xff)) {
    throw new RangeError('--interface, --shelf (0 to 65534) and --slot (0 to 254) are needed');
  }
  const groups = groupsFor(values.profile);
  const { found } = selectInterfaces(await listInterfaces(), values.interface);
  const [port] = found;
  if (!port) throw new RangeError(`there is no Ethernet interface ${values.interface}`);
  const { restart } = values;
  const session = await Session.open({
    interfaceName: port.name,
    mtu: port.mtu,
    address: { shelf, slot },
    answerMs: Number(values['answer-ms']),
    ...(restart === undefined ? {} : { restart: async () => void (await call('sh', ['-c', restart], { timeout: 20_000 })) }),
  });
  try {
    const results = await run(session, groups, (result) => console.log(values.json ? JSON.stringify(result) : line(result)));
    const count = (outcome: Result['outcome']): number => results.filter((result) => result.outcome === outcome).length;
    if (!values.json) console.log(`${count('pass')} pass, ${count('deviates')} deviate, ${count('not tried')} not tried`);
    return count('deviates') > 0 ? 1 : 0;
  } finally {
    session.close();
  }
}

function line({ group, name, source, outcome, seen, sent, heard }: Result): string {
  const head = `${outcome.padEnd(9)} ${group}: ${name}`;
  if (outcome === 'pass') return head;
  return [
    head,
    `          ${seen} [${source}]`,
    ...(sent ? [`          sent  ${sent}`] : []),
    ...(heard ? [`          heard ${heard}`] : []),
  ].join('\n');
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 2;
}
