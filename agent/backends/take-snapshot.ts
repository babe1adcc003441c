import { BackendError, type BackingSnapshot, type Instant, type SnapshotRequest, type Snapshots } from './backend.ts';

/** Takes one snapshot. It waits for the turn before the volume is held, so that the hold lasts no longer than the command. */
export function takeSnapshot(
  snapshots: Pick<Snapshots, 'serial' | 'prepare'>,
  request: SnapshotRequest,
  instant: Instant,
  signal: AbortSignal,
): Promise<BackingSnapshot> {
  return snapshots.serial.turn(async () => {
    const [prepared] = await snapshots.prepare([request], signal);
    if (!prepared) throw new BackendError('BackendFailed', `a snapshot of volume ${request.volumeUID} was not prepared`);
    if (prepared.found) return prepared.found;
    try {
      const createdAt = await instant(() => prepared.make());
      return await prepared.finish(createdAt);
    } catch (error) {
      await prepared.discard().catch(() => {});
      throw error;
    }
  }, signal);
}
