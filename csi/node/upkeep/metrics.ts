import { gauge, histogram } from '../../../run/metrics.ts';
import type { DownDisks } from './down-disks.ts';

/** Registers the gauge of the disks that are down: once in a process. */
export function registerDownDisks(downDisks: Pick<DownDisks, 'down'>): void {
  gauge(
    'aoe_csi_node_disk_down_seconds',
    'How long the kernel of this node has had the disk of a volume down.',
    ['volume', 'namespace', 'pvc'],
    async (set) => {
      for (const { volumeId, claim, seconds } of await downDisks.down())
        set({ volume: volumeId, namespace: claim?.namespace ?? '', pvc: claim?.name ?? '' }, seconds);
    },
  );
}

/** Registers the histogram of freezes: once in a process. @returns adds one freeze */
export function registerFreezes(): (seconds: number) => void {
  const freezes = histogram('aoe_csi_node_freeze_seconds', 'How long file systems of this node were frozen for snapshots.');
  return (seconds) => freezes.observe(seconds);
}
