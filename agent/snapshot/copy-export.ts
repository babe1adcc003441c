import { SECTOR } from '../../aoe/mod.ts';
import { formatAddress, sameAddress } from '../../api/address.ts';
import type { Condition } from '../../api/meta.ts';
import { type AoESnapshot, SnapshotCondition } from '../../api/snapshot.ts';
import { serialNumber } from '../../api/volume.ts';
import { messageOf } from '../../kube/mod.ts';
import type { ProbeAddress } from '../address/probe.ts';
import { BackendError, roundDown, type Snapshots, snapshotId } from '../backends/backend.ts';
import { TargetError, type TargetVolume, type TargetVolumeState } from '../target/api.ts';
import type { TargetConnection } from '../target/connection.ts';

/** While the snapshot cannot be served, or is not taken off the segment yet. */
const RETRY_MS = 5_000;
/** How often it is looked whether it is still served. */
const CHECK_MS = 30_000;
const TOO_OLD =
  'the target process on this node is of an earlier version, which cannot serve a snapshot for copies: delete the pod aoe-csi-target there, which starts the present one (I/O waits for a moment)';

/** What the agent's part of the status says about copies; undefined fields are to be absent. */
export interface CopyReport {
  served: NonNullable<AoESnapshot['status']>['copyServed'] | undefined;
  exported: Pick<Condition, 'status' | 'reason' | 'message'> | undefined;
}

/** What the status says about copies now. */
export function reportedCopies({ status }: Pick<AoESnapshot, 'status'>): CopyReport {
  const condition = status?.conditions?.find(({ type }) => type === SnapshotCondition.Exported);
  return {
    served: status?.copyServed,
    exported: condition && { status: condition.status, reason: condition.reason, message: condition.message },
  };
}

export interface CopyExportOptions {
  /** Name of this node. */
  node: string;
  target: Pick<TargetConnection, 'connected' | 'problem' | 'supports' | 'state' | 'export' | 'unexport'>;
  probe: ProbeAddress;
}

/** What came of it. `report` is to be written to the status. */
export interface CopyOutcome {
  report: CopyReport;
  /** When to look again, in milliseconds; undefined when a change leads to that. */
  retryMs?: number;
}

/** The UID that an exported snapshot has at the target. */
export function exportId({ metadata: { uid = '' } }: Pick<AoESnapshot, 'metadata'>): string {
  return snapshotId(uid);
}

/** Whether other nodes are to read the snapshot now. */
export function isWanted(snapshot: AoESnapshot, node: string): boolean {
  return snapshot.status?.copyAddress !== undefined && readers(snapshot, node).length > 0;
}

/** Exports snapshots of this node for as long as other nodes copy them. */
export class CopyExport {
  readonly #options: CopyExportOptions;

  constructor(options: CopyExportOptions) {
    this.#options = options;
  }

  /**
   * Makes true what status.copies asks for. Every step may have been done before.
   * @param claim writes to the status that the address is about to be served, before it is: false when it is not the snapshot's any more
   * @throws errors that are neither the target's nor the backend's
   */
  async reconcile(
    snapshot: AoESnapshot,
    backend: Pick<Snapshots, 'expose' | 'conceal'>,
    claim: (report: CopyReport) => Promise<boolean>,
    signal: AbortSignal,
  ): Promise<CopyOutcome> {
    const before = reportedCopies(snapshot);
    try {
      if (isWanted(snapshot, this.#options.node)) return await this.#serve(snapshot, backend, claim, before, signal);
      return await this.#withdraw(snapshot, backend, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof TargetError || error instanceof BackendError)) throw error;
      return refused(before, error instanceof TargetError ? reasonOf(error) : error.reason, messageOf(error));
    }
  }

  /** Takes a snapshot off the segment. @throws TargetError */
  async #withdraw(snapshot: AoESnapshot, backend: Pick<Snapshots, 'conceal'>, signal: AbortSignal): Promise<CopyOutcome> {
    const { target } = this.#options;
    const before = reportedCopies(snapshot);
    const id = exportId(snapshot);
    if (before.served || target.state(id)) {
      if (!target.connected) return this.#away(before);
      await target.unexport(id, signal);
    }
    const isRead = (snapshot.status?.copies ?? []).length > 0;
    // A copier of this node may just be closing it: then it is concealed at the next check.
    if (!isRead) await backend.conceal(snapshot.metadata.uid ?? '', signal).catch(() => {});
    return { report: { served: undefined, exported: undefined } };
  }

  async #serve(
    snapshot: AoESnapshot,
    backend: Pick<Snapshots, 'expose'>,
    claim: (report: CopyReport) => Promise<boolean>,
    before: CopyReport,
    signal: AbortSignal,
  ): Promise<CopyOutcome> {
    const { node, target, probe } = this.#options;
    const { metadata, status } = snapshot;
    const { copyAddress: address } = status ?? {};
    if (!address) return { report: before };
    if (!target.connected) return this.#away(before);
    // It would serve a disk like any other.
    if (!target.supports('for_copies')) return refused(before, 'TargetTooOld', TOO_OLD);
    const nodes = readers(snapshot, node);
    const macs = [...new Set(nodes.flatMap((each) => each.macs ?? []))].sort();
    const id = exportId(snapshot);
    let present = target.state(id);
    if (present && !isAt(present, address)) {
      await target.unexport(id, signal);
      present = undefined;
    }
    if (!present) {
      const problem = await this.#probe(probe, address, signal);
      if (problem) return refused(before, problem.reason, problem.message);
    }
    // From here on the operator gives the address to nobody else.
    const isClaimed = sameAddress(before.served, address) || (await claim({ ...before, served: address }));
    if (!isClaimed) return { report: before, retryMs: RETRY_MS };
    const served = { ...before, served: address };
    const data = await backend.expose(metadata.uid ?? '', signal);
    if (!data) return refused(served, 'SnapshotLost', 'the data of the snapshot is gone');
    const wanted: TargetVolume = {
      uid: id,
      ...{ shelf: address.shelf, slot: address.slot },
      path: data.path,
      serial: serialNumber(metadata.uid ?? '', 0),
      readOnly: true,
      bytes: roundDown(data.bytes, SECTOR),
      macs,
      writesNeedLock: false,
      forCopies: true,
    };
    if (!present || !isServedSo(present, wanted)) present = await target.export(wanted, signal);
    if (present.error) return refused(served, 'DeviceFailed', `the target cannot use ${data.path}: ${present.error}`);
    const readBy = nodes.map((each) => `${each.node} (AoEVolume ${each.volume})`).join(', ');
    const message = `served at ${formatAddress(address)} for copies to ${readBy}; no host gets a disk of it`;
    return { report: { served: address, exported: { status: 'True', reason: 'Exported', message } }, retryMs: CHECK_MS };
  }

  async #probe(
    probe: ProbeAddress,
    address: { shelf: number; slot: number },
    signal: AbortSignal,
  ): Promise<{ reason: string; message: string } | undefined> {
    try {
      const stranger = await probe(address, signal);
      if (!stranger) return undefined;
      const message = `${stranger.mac} on ${stranger.interface} answers at ${formatAddress(address)}, which is to be the address of the snapshot: take that target off the segment`;
      return { reason: 'AddressConflict', message };
    } catch (error) {
      signal.throwIfAborted();
      return { reason: 'SegmentNotAsked', message: messageOf(error) };
    }
  }

  #away(before: CopyReport): CopyOutcome {
    const message = `the target process does not answer (${this.#options.target.problem})`;
    return { report: { ...before, exported: { status: 'Unknown', reason: 'TargetUnavailable', message } }, retryMs: RETRY_MS };
  }
}

/** Copies on other nodes that have said with which addresses they read. */
function readers({ status }: AoESnapshot, node: string) {
  return (status?.copies ?? []).filter((copy) => copy.node !== node && (copy.macs ?? []).length > 0);
}

function isAt({ volume }: TargetVolumeState, address: { shelf: number; slot: number }): boolean {
  return sameAddress(volume, address);
}

function isServedSo({ volume, error }: TargetVolumeState, wanted: TargetVolume): boolean {
  const admits = volume.macs.map((mac) => mac.toLowerCase()).sort();
  return error === '' && volume.path === wanted.path && volume.forCopies === true && admits.join() === wanted.macs.join();
}

function refused(report: CopyReport, reason: string, message: string): CopyOutcome {
  return { report: { ...report, exported: { status: 'False', reason, message } }, retryMs: RETRY_MS };
}

function reasonOf({ reason }: TargetError): string {
  if (reason === 'waits') return 'WaitsForDisk';
  return reason === 'unavailable' ? 'TargetUnavailable' : reason === 'conflict' ? 'AddressInUse' : 'TargetRefused';
}
