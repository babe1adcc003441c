import { collectedCounter } from '../../run/metrics.ts';
import type { Lead } from '../lead.ts';
import { leaderGauge } from '../metrics.ts';
import type { TakeoverReconciler } from './reconciler.ts';

/** Registers how many volumes were taken over, and which silent nodes keep theirs: once in a process. */
export function registerTakeovers(takeover: Pick<TakeoverReconciler, 'held' | 'taken'>, ours: Pick<Lead, 'isOurs'>): void {
  collectedCounter('aoe_csi_takeover_volumes_total', 'Volumes that were taken from silent nodes.', [], (set) => set({}, takeover.taken));
  leaderGauge(ours, 'aoe_csi_takeover_held', 'Silent nodes whose volumes are not taken over, by reason.', ['node', 'reason'], (set) => {
    for (const [node, reason] of takeover.held) set({ node, reason }, 1);
  });
}
