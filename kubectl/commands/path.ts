import { DRIVER_NAME } from '../../api/meta.ts';
import type { AoENode } from '../../api/node.ts';
import type { AoEPool } from '../../api/pool.ts';
import { eventsAbout } from '../cluster/events.ts';
import { type Chain, findChains, parseSubject } from '../cluster/find.ts';
import { AOE_NODES, AOE_POOLS, type Attachment, type Machine, NODES, type Pod, VOLUME_ATTACHMENTS } from '../cluster/objects.ts';
import { podOn, releasePods } from '../cluster/release.ts';
import type { Context, ExitStatus } from '../context.ts';
import { Prober } from '../path/probe.ts';
import type { Step, Way } from '../path/step.ts';
import { backingPaths, stepsOf } from '../path/steps.ts';
import { table } from '../report/table.ts';

const STATES: Readonly<Record<Step['state'], string>> = { ok: 'ok', wrong: 'WRONG', unknown: '?' };

export function pathText(steps: readonly Step[]): string[] {
  return table(
    ['STEP', 'STATE', ''],
    steps.map(({ name, state, text }) => [name, STATES[state], text]),
  );
}

/** Whoever has ended no longer uses a volume. */
function usesVolume({ status }: Pod): boolean {
  return status?.phase !== 'Succeeded' && status?.phase !== 'Failed';
}

/** @param isExec also looks on the nodes */
export async function waysOf(
  context: Pick<Context, 'reader' | 'kubectl' | 'line'>,
  chains: readonly Chain[],
  isExec: boolean,
): Promise<Way[]> {
  const { reader, line } = context;
  const [attachments, nodes, machines, pools, ours] = await Promise.all([
    reader.list<Attachment>(VOLUME_ATTACHMENTS),
    reader.list<AoENode>(AOE_NODES),
    reader.list<Machine>(NODES),
    reader.list<AoEPool>(AOE_POOLS),
    releasePods(reader, line.namespace),
  ]);
  const common = {
    attachments: attachments?.filter(({ spec }) => spec.attacher === DRIVER_NAME),
    nodes,
    machines,
    pools,
    releasePods: ours,
    isExec,
  };
  const prober = new Prober(context);
  const ways = chains.flatMap((chain): { chain: Chain; pod: Pod | undefined }[] => {
    const users = (chain.pods ?? []).filter(usesVolume);
    return users.length === 0 ? [{ chain, pod: undefined }] : users.map((pod) => ({ chain, pod }));
  });
  return Promise.all(
    ways.map(async ({ chain, pod }): Promise<Way> => {
      const { volume } = chain;
      const podEvents = pod ? await eventsAbout(reader, { namespace: '', ...pod.metadata }) : [];
      const way: Way = { chain, pod, podEvents, ...common };
      if (!isExec || !volume) return way;
      const plugin = podOn(ours, 'node', pod?.spec.nodeName);
      const agent = podOn(ours, 'agent', volume.spec.nodeName);
      const [nodeFacts, agentFacts] = await Promise.all([
        plugin && pod?.spec.nodeName !== undefined ? prober.node(plugin, volume.status?.address) : undefined,
        agent ? prober.agent(agent, backingPaths(volume, pools)) : undefined,
      ]);
      return { ...way, nodeFacts, agentFacts };
    }),
  );
}

export async function path(context: Context): Promise<ExitStatus> {
  const { reader, line, out, now } = context;
  const chains = await findChains(reader, parseSubject(line.words[0] ?? ''));
  const ways = await waysOf(context, chains, line.isOn('exec'));
  const all = ways.map((way) => stepsOf(way, now()));
  out(`${all.map((steps) => pathText(steps).join('\n')).join('\n\n')}\n`);
  return line.isOn('exit-code') && all.flat().some(({ state }) => state === 'wrong') ? 1 : 0;
}
