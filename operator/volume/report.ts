import { type AoEVolume, VolumeCondition } from '../../api/volume.ts';
import type { EventRecorder, StatusPart } from '../../kube/mod.ts';
import type { Logger } from '../../run/log.ts';
import type { Growth } from './growth.ts';
import type { Findings } from './status.ts';

interface Options {
  readonly events: Pick<EventRecorder, 'event'>;
  readonly log: Pick<Logger, 'warn'>;
}

/**
 * Reports a problem by log and Event when it is a new one.
 * @param volume with the status from before
 * @param next its status as it is now
 */
export function report(options: Options, volume: AoEVolume, findings: Findings, next: Pick<StatusPart, 'conditions'>): void {
  const { refused, obstacle, growth } = findings;
  reportGrowth(options, volume, growth);
  const reason = refused?.refused ?? obstacle?.obstacle;
  const message = refused?.message ?? obstacle?.message ?? '';
  const before = volume.status?.conditions?.find(({ type }) => type === VolumeCondition.Ready);
  const now = next.conditions?.find(({ type }) => type === VolumeCondition.Ready);
  if (!reason || before?.reason === reason || now?.reason !== reason) return;
  // The begin of a move has its own Event.
  if (obstacle?.obstacle === 'Moving') return;
  const isMove = obstacle?.obstacle === 'MoveWaits';
  const what = refused ? 'volume not placed' : isMove ? 'volume not moved yet' : 'storage node of volume not available';
  options.log.warn({ volume: volume.metadata.name, reason, detail: message }, what);
  options.events.event(volume, 'Warning', reason, message);
}

function reportGrowth({ log, events }: Options, volume: AoEVolume, growth: Growth | undefined): void {
  const { status, reason, message } = growth?.verdict ?? { status: 'True', reason: '', message: '' };
  const before = volume.status?.conditions?.find(({ type }) => type === VolumeCondition.Grown);
  if (status === 'True' || reason === 'Growing' || before?.reason === reason) return;
  log.warn({ volume: volume.metadata.name, reason, detail: message }, 'volume does not grow yet');
  events.event(volume, 'Warning', reason, message);
}
