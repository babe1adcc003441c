import { BROADCAST_MAC, Command, ConfigCommand, configRequest, emitConfig, emitFrame, padFrame, RawSocket } from '../../../aoe/mod.ts';
import { REFUSED_SHELF } from '../../../api/address.ts';
import { type Log, messageOf } from '../../../kube/mod.ts';
import { loop } from '../../../run/loop.ts';

/**
 * The address that heartbeats ask for. No volume can have it, so no target answers: a segment has one small frame per node and interval.
 * Targets note the sender of every request.
 */
const NOBODY = { shelf: REFUSED_SHELF, slot: 0 } as const;
/** Bit 31: the kernel's driver never takes an answer for its own. */
const TAG = 0x8000_0000;

export interface HeartbeatOptions {
  /** Seconds between two heartbeats; 0: none. */
  readonly everySeconds: number;
  /** The names of all interfaces that the kernel's driver uses, the local veth pair included. */
  readonly interfaces: () => Promise<readonly string[]>;
  readonly log: Log;
  readonly open?: (name: string) => Pick<RawSocket, 'mac' | 'send' | 'close'>;
}

/**
 * Lets all targets hear this node, until the signal is aborted: the kernel's driver sends nothing while its disks are idle. Nothing waits for
 * an answer. An interface that cannot be used is skipped; it is reported when none could be used.
 */
export async function sendHeartbeats(
  { everySeconds, interfaces, log, open = (name: string) => RawSocket.open(name) }: HeartbeatOptions,
  signal: AbortSignal,
): Promise<void> {
  if (everySeconds === 0) return;
  const failed = (error: unknown): void =>
    log.warn({ error: messageOf(error) }, 'no heartbeat could be sent: the targets may count this node as silent');
  const beat = async (): Promise<void> => {
    const names = await interfaces();
    const failures: unknown[] = [];
    for (const name of names) {
      try {
        sendOne(name, open);
      } catch (error) {
        failures.push(error);
      }
    }
    if (names.length === 0) throw new Error('this node has no AoE interface that is up');
    if (failures.length === names.length) throw failures[0];
  };
  await loop(beat, { everyMs: everySeconds * 1000, jitter: 0.1, signal, failed });
}

function sendOne(name: string, open: NonNullable<HeartbeatOptions['open']>): void {
  const socket = open(name);
  try {
    const header = {
      destination: BROADCAST_MAC,
      source: socket.mac,
      version: 1,
      flags: 0,
      error: 0,
      ...NOBODY,
      command: Command.Config,
      tag: TAG,
    };
    socket.send(padFrame(emitFrame({ header, argument: emitConfig(configRequest(ConfigCommand.Read)) })));
  } finally {
    socket.close();
  }
}
