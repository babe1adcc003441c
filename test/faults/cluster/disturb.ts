import type { Cluster } from '../../testbed/cluster.ts';
import { NAMESPACE } from '../../testbed/install.ts';
import { pidOf } from '../../testbed/process/processes.ts';
import type { Disturbance } from '../model/cluster-faults.ts';
import { NODES, STORAGE } from '../model/plan.ts';

/** For tc-netem(8), on what a node sends. */
const NETEM = {
  loss: 'loss 15%',
  delay: 'delay 60ms 50ms',
  duplicate: 'duplicate 30%',
  reorder: 'delay 20ms reorder 40% 50%',
} as const;

/** What runs as which part. The brackets keep the pattern from matching the command that has it. */
export const PROGRAMS = {
  target: '[a]oe-target',
  agent: '[a]gent.js',
  controller: '[o]perator.js|[c]si.js controller',
  node: '[c]si.js node',
  kubelet: '/[k]ubelet --config=',
} as const;

/** Makes something go wrong. @returns what ends it, to be called once */
export async function disturbCluster(cluster: Cluster, what: Disturbance): Promise<() => Promise<void>> {
  switch (what.kind) {
    case 'kill': {
      const nodes = what.part === 'agent' || what.part === 'target' ? [STORAGE] : NODES;
      await Promise.all(nodes.map((node) => cluster.guest(node).exec(`pkill -KILL -f '${PROGRAMS[what.part]}' || true`)));
      // A new pod each time: the kubelet waits longer and longer before it starts a container again.
      const pods = ['-n', NAMESPACE, 'delete', 'pod', '-l', `app.kubernetes.io/component=${what.part}`, '--grace-period=0', '--force'];
      const onNode = nodes.length === 1 ? ['--field-selector', `spec.nodeName=${STORAGE}`] : [];
      await cluster.kubectl([...pods, ...onNode, '--wait=false']);
      return async () => {};
    }
    case 'storage-link-down': {
      const guest = cluster.guest(what.node);
      guest.setStorageLink('down');
      return async () => guest.setStorageLink('up');
    }
    case 'management-link-down': {
      const guest = cluster.guest(what.node);
      guest.setManagementLink('down');
      return async () => guest.setManagementLink('up');
    }
    case 'both-links-down': {
      const guest = cluster.guest(what.node);
      const set = (state: 'up' | 'down'): void => {
        guest.setStorageLink(state);
        guest.setManagementLink(state);
      };
      set('down');
      return async () => set('up');
    }
    case 'bad-link': {
      const guest = cluster.guest(what.node);
      await guest.exec(`modprobe sch_netem; tc qdisc replace dev vec0 root netem ${NETEM[what.how]}`);
      return async () => {
        await guest.exec('tc qdisc del dev vec0 root 2>/dev/null || true');
      };
    }
    case 'api-server-away': {
      const pid = pidOf('kube-apiserver');
      process.kill(pid, 'SIGSTOP');
      return async () => {
        process.kill(pid, 'SIGCONT');
      };
    }
    case 'clock-jump': {
      const guest = cluster.guest(what.node);
      const jump = (seconds: number) => guest.exec(`date -s "@$(($(date +%s) + ${seconds}))" >/dev/null`);
      await jump(what.seconds);
      return async () => {
        await jump(-what.seconds);
      };
    }
    case 'storage-crash': {
      await cluster.guest(STORAGE).crash();
      return async () => {
        await cluster.reboot(STORAGE);
      };
    }
  }
}
