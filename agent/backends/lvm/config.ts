import { existsSync, readlinkSync } from 'node:fs';

/** Inode of the initial IPC namespace: PROC_IPC_INIT_INO in include/linux/proc_ns.h. */
const INITIAL_IPC = 'ipc:[4026531839]';

/**
 * Whether LVM can wait for udev. It does so by a System V semaphore that udevd's rules decrement: in a container with
 * its own IPC namespace that would wait for ever, and without udevd as well.
 */
export function udevReachable(): boolean {
  try {
    return existsSync('/run/udev/control') && readlinkSync('/proc/self/ns/ipc') === INITIAL_IPC;
  } catch {
    return false;
  }
}

// A device is taken when any of its names is accepted, so every alias of an etherd disk must be rejected as well:
// hence no by-id links, no /dev/block, and device-mapper devices only by their mapper name.
const FILTER = ['r|^/dev/etherd/|', 'r|^/dev/disk/|', 'r|^/dev/block/|', 'r|^/dev/dm-|', 'r|/aoe-|', 'r|aoe--|', 'a|.*|'];

/**
 * The LVM settings of all our calls, for `--config`. Disks that come over AoE and the volumes we serve are never looked
 * at: a guest's volume group on them is not ours to activate (kubernetes/kubernetes#110163).
 */
export function lvmConfig({ udev }: { udev: boolean }): string {
  const filter = FILTER.map((rule) => JSON.stringify(rule)).join(',');
  return [
    // ubd: disks of user-mode Linux, which LVM does not know by itself.
    `devices { scan=["/dev"] scan_lvs=0 use_devicesfile=0 types=["ubd",256] global_filter=[${filter}] obtain_device_list_from_udev=0 external_device_info_source="none" }`,
    // Watching thin pools and extending them is the host's dmeventd's job.
    `activation { monitoring=0 ${udev ? '' : 'udev_sync=0 udev_rules=0 verify_udev_operations=0 '}}`,
    'global { use_lvmlockd=0 use_lvmpolld=0 event_activation=0 notify_dbus=0 }',
    // A container's /etc/lvm goes with it: back up metadata with vgcfgbackup on the host.
    'backup { backup=0 archive=0 }',
  ].join(' ');
}
