// The test bed from the command line: up [--bare] | down | update | kubectl ARGS... | exec NODE SCRIPT
import { Cluster } from './cluster.ts';
import { NAMESPACE } from './install.ts';
import { prepare } from './prepare.ts';
import { Progress } from './progress.ts';

async function step<T>(what: string, work: () => Promise<T>): Promise<T> {
  const started = performance.now();
  process.stdout.write(`  ${what} ... `);
  const result = await work();
  process.stdout.write(`${((performance.now() - started) / 1000).toFixed(1)} s\n`);
  return result;
}

const [command, ...args] = process.argv.slice(2);
switch (command) {
  case 'up':
    await Cluster.up(step, { bare: args.includes('--bare') });
    break;
  case 'down':
    await Cluster.down();
    break;
  case 'update':
    await prepare(new Progress());
    await (await Cluster.attach()).update(NAMESPACE);
    break;
  case 'kubectl':
    process.stdout.write(await (await Cluster.attach()).kubectl(args));
    break;
  case 'exec':
    process.stdout.write(await (await Cluster.attach()).guest(args[0] ?? '').exec(args.slice(1).join(' ')));
    break;
  default:
    console.error('usage: main.ts up [--bare] | down | update | kubectl ARGS... | exec NODE SCRIPT');
    process.exit(2);
}
