// The demo from the command line: story (cluster, chart and story) | up | down | shell
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { Cluster } from '../testbed/cluster.ts';
import { installChart } from '../testbed/install.ts';
import { KIT } from '../testbed/kit.ts';
import { NETNS, RUN } from '../testbed/paths.ts';
import { prepare } from '../testbed/prepare.ts';
import { Progress } from '../testbed/progress.ts';
import { tellStory } from './story.ts';

async function up(progress: Progress): Promise<Cluster> {
  await prepare(progress);
  const cluster = await Cluster.up((what, work, options) => progress.step(what, work, options));
  await progress.step('helm install aoe-csi', () => installChart(cluster), { usually: '20 s', logs: `${RUN}/*/kubelet.log` });
  return cluster;
}

function shell(): void {
  const environment = {
    ...process.env,
    KUBECONFIG: join(RUN, 'admin.kubeconfig'),
    PATH: `${KIT}:${process.env.PATH}`,
    PS1: 'aoe-csi demo \\$ ',
  };
  console.log('kubectl and helm talk to the demo cluster. A script on a node: node test/testbed/main.ts exec worker-1 "aoe-stat"');
  spawnSync('ip', ['netns', 'exec', NETNS, '/bin/bash', '--norc', '-i'], { stdio: 'inherit', env: environment });
}

const HOW_ON = `
Look around:  make demo-shell        (kubectl, helm; kubeconfig ${join(RUN, 'admin.kubeconfig')} in network namespace ${NETNS})
Stop it:      make demo-down`;

const progress = new Progress();
const [command] = process.argv.slice(2);
try {
  switch (command) {
    case 'story':
      await tellStory(await up(progress));
      console.log(HOW_ON);
      break;
    case 'up':
      await up(progress);
      console.log(HOW_ON);
      break;
    case 'down':
      await Cluster.down();
      break;
    case 'shell':
      await Cluster.attach();
      shell();
      break;
    default:
      throw new Error('usage: main.ts story | up | down | shell');
  }
} catch (error) {
  progress.fail(error);
  process.exit(1);
}
