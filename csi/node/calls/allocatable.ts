import type { Deps } from '../deps.ts';

/** The kernel's driver has 2^20 minor numbers, 16 for each disk (drivers/block/aoe/aoe.h, AOE_PARTITIONS; aoedev.c, N_DEVS). */
const MAX_DISKS = 2 ** 16;

/**
 * How many volumes of this driver the node can have attached in all. The kernel also makes a disk of every other target that answers the
 * node, and each takes a place.
 */
export async function allocatable({ driver, staged }: Pick<Deps, 'driver' | 'staged'>): Promise<number> {
  const records = await Promise.all((await staged.list()).map((volumeId) => staged.get(volumeId)));
  const ours = new Set(records.map((record) => record?.address));
  const others = (await driver.disks()).filter((address) => !ours.has(address));
  return MAX_DISKS - others.length;
}
