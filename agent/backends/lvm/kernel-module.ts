import { access } from 'node:fs/promises';

/** Whether the kernel has a module: loaded, or built in with parameters, as dm-snapshot is. */
export type HasModule = (name: string) => Promise<boolean>;

/**
 * As {@link HasModule}, on this machine. LVM looks there, too, before it calls modprobe (`module_present` in lib/activate/activate.c), which finds
 * nothing in the agent's pod: it does not have the node's /lib/modules.
 * @param name as the kernel spells it, with underscores
 */
export async function hasModule(name: string): Promise<boolean> {
  try {
    await access(`/sys/module/${name}`);
    return true;
  } catch {
    return false;
  }
}
