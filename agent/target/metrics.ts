import type { AoENode } from '../../api/node.ts';
import { type AoEVolume, claimNameOf } from '../../api/volume.ts';
import type { Store } from '../../kube/mod.ts';
import { type Collect, type Counted, collectedCounter, collectedHistogram, gauge } from '../../run/metrics.ts';
import { contestedMacs } from '../access/desired.ts';
import type { RequestKind, TargetApi, TargetInitiatorStats, TargetInterfaceStats, TargetStats } from './api.ts';
import type { TargetConnection } from './connection.ts';

export interface TargetMetricsOptions {
  api: Pick<TargetApi, 'getStats'>;
  connection: Pick<TargetConnection, 'connected' | 'served'>;
  volumes: Pick<Store<AoEVolume>, 'list'>;
  nodes: Pick<Store<AoENode>, 'list'>;
}

/** Claims are what those who run pods know. Both labels are empty for a volume that was not made for one. */
const VOLUME = ['volume', 'namespace', 'pvc'] as const;
const INITIATOR = [...VOLUME, 'initiator', 'initiator_node'] as const;
const REQUEST = [...INITIATOR, 'kind'] as const;
const LOST = {
  receive_ring: 'ringDropped',
  receive: 'receiveLost',
  send: 'sendFailed',
  answer: 'answersDropped',
} as const satisfies Record<string, keyof TargetInterfaceStats>;

type Labels = Record<(typeof INITIATOR)[number], string>;

/** Metrics of the target process: its counters, with names in place of UIDs, and the state of its connection. */
export class TargetMetrics {
  readonly #options: TargetMetricsOptions;
  readonly #signal: AbortSignal;
  #request: Promise<TargetStats | undefined> | undefined;

  constructor(options: TargetMetricsOptions, signal: AbortSignal) {
    this.#options = options;
    this.#signal = signal;
  }

  /** Registers the metrics: once in a process. */
  register(): void {
    const { connection } = this.#options;
    gauge('aoe_agent_target_connected', '1 when the target process answers.', [], (set) => set({}, connection.connected ? 1 : 0));
    gauge('aoe_agent_exported_volumes', 'Volumes that the target serves.', [], (set) => {
      if (connection.connected) set({}, connection.served);
    });
    gauge('aoe_target_up', '1 when the target process reported its counters.', [], async (set) => set({}, (await this.#stats()) ? 1 : 0));
    const help = 'Time from taking a request off the wire to queueing its answer, by kind: read, write, flush.';
    const durations: Collect<(typeof REQUEST)[number], Counted> = async (set) => {
      const stats = await this.#stats();
      if (!stats) return;
      for (const [labels, { requests }] of this.#initiators(stats))
        for (const [kind, { latency, seconds }] of kinds(requests))
          set({ ...labels, kind }, { bounds: stats.latencyBounds, counts: latency, sum: seconds });
    };
    collectedHistogram('aoe_target_request_duration_seconds', help, durations, REQUEST);
    this.#perKind('bytes_total', 'Bytes read and written.', 'bytes');
    this.#perKind('request_errors_total', 'Requests answered with an error because the disk failed.', 'errors');
    this.#perInitiator('repeated_requests_total', 'Reads and writes that were repeated while the same one was under way.', 'repeats');
    this.#perInitiator('dropped_requests_total', 'Requests left unanswered because too many were under way.', 'dropped');
    this.#perInitiator('throttled_seconds_total', "Time in which an answer was kept back because of the volume's limits.", 'throttled');
    this.#counter(
      'refused_frames_total',
      'Frames not served, by reason; volume is empty for frames of no volume.',
      [...VOLUME, 'reason'],
      (stats, set) => {
        const labels = this.#volumeLabels();
        // The reasons of alerts are there before the first such frame: the rate of a counter that appears with its first frames is 0.
        for (const [reason, frames] of Object.entries({ flood: 0, ...stats.refused })) set({ ...labels(''), reason }, frames);
        for (const { uid, refused } of stats.volumes)
          for (const [reason, frames] of Object.entries({ not_in_force: 0, ...refused })) set({ ...labels(uid), reason }, frames);
      },
    );
    this.#counter(
      'reclaimed_bytes_total',
      'Bytes that were overwritten with zeros and made holes, or discarded. What was a hole before, or is in a snapshot, too, counts.',
      VOLUME,
      (stats, set) => {
        const labels = this.#volumeLabels();
        for (const { uid, reclaimed } of stats.volumes) if (reclaimed > 0) set(labels(uid), reclaimed);
      },
    );
    this.#counter('received_frames_total', 'AoE requests received.', ['interface'], ({ interfaces }, set) => {
      for (const { name, received } of interfaces) set({ interface: name }, received);
    });
    this.#counter('sent_frames_total', 'Answers and announcements sent.', ['interface'], ({ interfaces }, set) => {
      for (const { name, sent } of interfaces) set({ interface: name }, sent);
    });
    this.#counter('lost_frames_total', 'Frames lost on this node, by where.', ['interface', 'where'], ({ interfaces }, set) => {
      for (const each of interfaces) for (const [where, key] of Object.entries(LOST)) set({ interface: each.name, where }, each[key]);
    });
  }

  #counter<L extends string>(
    name: string,
    help: string,
    labels: readonly L[],
    collect: (stats: TargetStats, set: (labels: Record<L, string>, value: number) => void) => void,
  ): void {
    collectedCounter(`aoe_target_${name}`, help, labels, async (set) => {
      const stats = await this.#stats();
      if (stats) collect(stats, set);
    });
  }

  #perKind(name: string, help: string, key: 'bytes' | 'errors'): void {
    this.#counter(name, help, REQUEST, (stats, set) => {
      for (const [labels, { requests }] of this.#initiators(stats))
        for (const [kind, counts] of kinds(requests)) set({ ...labels, kind }, counts[key]);
    });
  }

  #perInitiator(name: string, help: string, key: 'repeats' | 'dropped' | 'throttled'): void {
    this.#counter(name, help, INITIATOR, (stats, set) => {
      for (const [labels, initiator] of this.#initiators(stats)) set(labels, initiator[key]);
    });
  }

  *#initiators({ volumes }: TargetStats): Generator<[Labels, TargetInitiatorStats]> {
    const labels = this.#volumeLabels();
    const nodes = this.#nodeNames();
    for (const { uid, initiators } of volumes) {
      for (const initiator of initiators) {
        const { mac } = initiator;
        yield [{ ...labels(uid), initiator: mac || 'other', initiator_node: nodes.get(mac) ?? '' }, initiator];
      }
    }
  }

  /** Gives the labels of a volume by its UID. One that is not known any more has its UID as its name. */
  #volumeLabels(): (uid: string) => Record<(typeof VOLUME)[number], string> {
    const byUID = new Map(this.#options.volumes.list().map((volume) => [volume.metadata.uid, volume]));
    return (uid) => {
      const volume = byUID.get(uid);
      const { namespace = '', name: pvc = '' } = (volume && claimNameOf(volume)) ?? {};
      return { volume: volume?.metadata.name ?? uid, namespace, pvc };
    };
  }

  #nodeNames(): Map<string, string> {
    const nodes = this.#options.nodes.list();
    const contested = contestedMacs(nodes);
    const owned = nodes.flatMap(({ metadata, status }) =>
      (status?.interfaces ?? []).map(({ mac }) => [mac.toLowerCase(), metadata.name] as const),
    );
    return new Map(owned.filter(([mac]) => !contested.has(mac)));
  }

  /** One request for all metrics of a scrape; undefined when the target does not answer, which its connection logs. */
  #stats(): Promise<TargetStats | undefined> {
    this.#request ??= this.#options.api
      .getStats(this.#signal)
      .catch(() => undefined)
      .finally(() => {
        this.#request = undefined;
      });
    return this.#request;
  }
}

function kinds(requests: TargetInitiatorStats['requests']) {
  return Object.entries(requests) as [RequestKind, NonNullable<(typeof requests)[RequestKind]>][];
}
