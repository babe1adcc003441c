import type { AoENode } from '../../api/node.ts';
import type { AoEPool } from '../../api/pool.ts';
import type { Chain } from '../cluster/find.ts';
import type { Attachment, Event, Machine, Pod } from '../cluster/objects.ts';
import type { AgentFacts, NodeFacts } from './probe.ts';

/** One step on the way from a pod to its data. */
export interface Step {
  readonly name: string;
  /** `unknown`: nobody looked, or it may not be read. */
  readonly state: 'ok' | 'wrong' | 'unknown';
  readonly text: string;
}

/** Everything that is known about one way. What is absent was not found, or may not be read. */
export interface Way {
  readonly chain: Chain;
  /** The pod whose way it is; absent when no pod uses the volume. */
  readonly pod?: Pod | undefined;
  readonly podEvents?: readonly Event[] | undefined;
  readonly attachments?: readonly Attachment[] | undefined;
  readonly nodes?: readonly AoENode[] | undefined;
  readonly machines?: readonly Machine[] | undefined;
  readonly pools?: readonly AoEPool[] | undefined;
  /** Of the release. */
  readonly releasePods?: readonly Pod[] | undefined;
  /** From the pod's node and from the storage node, with --exec. */
  readonly nodeFacts?: NodeFacts | undefined;
  readonly agentFacts?: AgentFacts | undefined;
  /** Whether --exec was given. */
  readonly isExec: boolean;
}

export const ok = (name: string, text: string): Step => ({ name, state: 'ok', text });
export const wrong = (name: string, text: string): Step => ({ name, state: 'wrong', text });
export const unknown = (name: string, text: string): Step => ({ name, state: 'unknown', text });
