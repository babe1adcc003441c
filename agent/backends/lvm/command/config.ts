import { existsSync, readlinkSync } from 'node:fs';

/** Inode of the initial IPC namespace: PROC_IPC_INIT_INO in include/linux/proc_ns.h. */
const INITIAL_IPC = 'ipc:[4026531839]';

/**
 * Whether LVM can wait for udev. LVM waits on a System V semaphore that udevd's rules decrement. In a container with an IPC
 * namespace of its own, or without udevd, it would wait for ever.
 */
export function udevReachable(): boolean {
  try {
    return existsSync('/run/udev/control') && readlinkSync('/proc/self/ns/ipc') === INITIAL_IPC;
  } catch {
    return false;
  }
}

// LVM accepts a device when it accepts any of its names, so every alias of an etherd disk must be rejected, too:
// hence no by-id links, no /dev/block, and device-mapper devices only by their mapper name.
const FILTER = ['r|^/dev/etherd/|', 'r|^/dev/disk/|', 'r|^/dev/block/|', 'r|^/dev/dm-|', 'r|/aoe-|', 'r|aoe--|', 'a|.*|'];

/**
 * The LVM settings of all our commands, for `--config`. LVM never scans disks that come over AoE, nor our own volumes: a volume
 * group that a user made on them must not be activated here (kubernetes/kubernetes#110163).
 */
export function lvmConfig({ udev }: { udev: boolean }): string {
  const filter = FILTER.map((rule) => JSON.stringify(rule)).join(',');
  return [
    // ubd: the disks of user-mode Linux, which LVM does not know by default.
    `devices { scan=["/dev"] scan_lvs=0 use_devicesfile=0 types=["ubd",256] global_filter=[${filter}] obtain_device_list_from_udev=0 external_device_info_source="none" }`,
    // The dmeventd of the host monitors and extends thin pools.
    `activation { monitoring=0 ${udev ? '' : 'udev_sync=0 udev_rules=0 verify_udev_operations=0 '}}`,
    'global { use_lvmlockd=0 use_lvmpolld=0 event_activation=0 notify_dbus=0 }',
    // The /etc/lvm of a container is lost with it: back up metadata with vgcfgbackup on the host.
    'backup { backup=0 archive=0 }',
  ].join(' ');
}
