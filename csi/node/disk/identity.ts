import { type ConfigReply, escapeString, type IdentifyReply, sameBytes } from '../../../aoe/mod.ts';
import { Code, RpcError } from '../../../rpc/status.ts';

/** What a target says about its disk. */
export interface Surveyed {
  readonly serial: string;
  readonly bytes: number;
}

/**
 * Makes sure that exactly one disk answers at an address, and that it is the right one.
 * @throws RpcError UNAVAILABLE when no target answers both questions; FAILED_PRECONDITION when two disks answer, or the wrong one
 */
export function oneRightDisk(
  name: string,
  { configs, identities }: { configs: readonly ConfigReply[]; identities: readonly IdentifyReply[] },
  { serial, external }: { serial: string | undefined; external: boolean },
): Surveyed {
  if (configs.length === 0 && identities.length === 0) {
    throw new RpcError(
      Code.UNAVAILABLE,
      `${name}: no target answers. Is the storage node up, is its target running, and are both nodes on one L2 segment with the same MTU?`,
    );
  }
  const disks = identities.filter((each) => each.identity !== undefined);
  const [first] = disks;
  if (!first?.identity) {
    throw new RpcError(
      Code.UNAVAILABLE,
      `${name}: the target at ${configs[0]?.mac ?? identities[0]?.mac} does not identify its disk; it may be starting, or it does not admit this host`,
    );
  }
  // Without a config string nothing is known about the lock: whether this node still has it, or another host had the disk meanwhile.
  if (configs.length === 0) {
    throw new RpcError(
      Code.UNAVAILABLE,
      `${name}: the target at ${first.mac} identifies its disk, but does not answer with its config string; are frames lost on the segment?`,
    );
  }
  const other = disks.find(({ identity }) => identity?.serial !== first.identity?.serial || identity?.sectors !== first.identity?.sectors);
  if (other?.identity) {
    throw new RpcError(
      Code.FAILED_PRECONDITION,
      `${name}: address conflict, two disks answer: serial ${first.identity.serial} at ${first.mac} and serial ${other.identity.serial} at ${other.mac}. Stop one of them`,
    );
  }
  // The cluster's targets show one config string on all their paths. An external one need not: vblade has a process, and a config string, for
  // each interface.
  const [here] = configs;
  const there = configs.find((each) => here && each.error === 0 && here.error === 0 && !sameBytes(each.string, here.string));
  if (!external && here && there) {
    throw new RpcError(
      Code.FAILED_PRECONDITION,
      `${name}: address conflict, the targets at ${here.mac} ("${escapeString(here.string)}") and ${there.mac} ("${escapeString(there.string)}") differ. Stop one of them`,
    );
  }
  checkSerial(name, first.identity.serial, serial);
  return { serial: first.identity.serial, bytes: first.identity.sectors * 512 };
}

/** @throws RpcError FAILED_PRECONDITION */
export function checkSerial(name: string, found: string, expected: string | undefined): void {
  if (expected === undefined || found === expected.trim()) return;
  throw new RpcError(
    Code.FAILED_PRECONDITION,
    `${name}: wrong disk, its serial is "${found}" but the volume's is "${expected}"; it is neither mounted nor formatted`,
  );
}
