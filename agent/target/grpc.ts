import { SECTOR } from '../../aoe/mod.ts';
import { aoe, Code, fromInt64, int64, RpcClient, RpcError } from '../../rpc/mod.ts';
import {
  type RefusedFrames,
  type TargetAccess,
  type TargetApi,
  TargetError,
  type TargetEvent,
  type TargetInfo,
  type TargetInitiatorStats,
  type TargetInterface,
  type TargetReason,
  type TargetRequests,
  type TargetSilences,
  type TargetStats,
  type TargetVolume,
  type TargetVolumeState,
} from './api.ts';
import { fromWire, toWire } from './wire-limits.ts';

const { target } = aoe;
/**
 * Cutting off an initiator waits for its I/O under way, and that waits for the disk, which may hang. The target goes on with a change whose
 * caller has gone, and one that is repeated loses nothing: callers wait only for a moment, and ask again.
 */
const CHANGE_LIMIT_MS = 10_000;
/** The target itself gives up at the limit of a hold. */
const HOLD_MARGIN_MS = 2_000;
/** Less than the 10 s that Prometheus by default waits for all metrics. */
const STATS_LIMIT_MS = 3000;
/** A target that is well says at once what it is. */
const INFO_LIMIT_MS = 3000;

const REASONS = new Map<Code, TargetReason>([
  [Code.UNAVAILABLE, 'unavailable'],
  [Code.DEADLINE_EXCEEDED, 'unavailable'],
  [Code.CANCELLED, 'unavailable'],
  [Code.NOT_FOUND, 'not-found'],
  [Code.ALREADY_EXISTS, 'conflict'],
  [Code.INVALID_ARGUMENT, 'invalid'],
  [Code.FAILED_PRECONDITION, 'precondition'],
]);

type VolumeState = aoe.target.v1.VolumeState.$Properties;

/** The target process behind its unix socket. */
export class GrpcTarget implements TargetApi {
  readonly #client: RpcClient<aoe.target.v1.Target>;
  readonly #socket: string;
  readonly #changeLimitMs: number;

  constructor(socket: string, { changeLimitMs = CHANGE_LIMIT_MS }: { changeLimitMs?: number } = {}) {
    this.#socket = socket;
    this.#changeLimitMs = changeLimitMs;
    this.#client = new RpcClient(target.v1.Target, target.v1, socket);
  }

  async getInfo(signal: AbortSignal): Promise<TargetInfo> {
    const { version, interfaces, features } = await this.#mapErrors(this.#client.call('getInfo', {}, { signal }));
    return { version: version ?? '', interfaces: (interfaces ?? []).map(interfaceOf), features: features ?? [] };
  }

  async setInterfaces(names: string[], signal: AbortSignal): Promise<TargetInterface[]> {
    const { interfaces } = await this.#mapErrors(this.#client.call('setInterfaces', { names }, { signal }));
    return (interfaces ?? []).map(interfaceOf);
  }

  async export({ macs, writesNeedLock, bytes, limits, ...volume }: TargetVolume, signal: AbortSignal): Promise<TargetVolumeState> {
    const sized = { ...volume, sectors: int64(bytes / SECTOR), access: { macs, writesNeedLock } };
    const request = { volume: limits ? { ...sized, limits: toWire(limits) } : sized };
    return stateOf((await this.#change((within) => this.#client.call('export', request, within), signal)).state);
  }

  async unexport(uid: string, signal: AbortSignal): Promise<void> {
    await this.#change((within) => this.#client.call('unexport', { uid }, within), signal);
  }

  async setAccess(uid: string, access: TargetAccess, signal: AbortSignal): Promise<TargetVolumeState> {
    return stateOf((await this.#change((within) => this.#client.call('setAccess', { uid, access }, within), signal)).state);
  }

  async replaceConfigString(uid: string, expected: Uint8Array, replacement: Uint8Array, signal: AbortSignal): Promise<TargetVolumeState> {
    return stateOf(
      (await this.#change((within) => this.#client.call('replaceConfigString', { uid, expected, replacement }, within), signal)).state,
    );
  }

  async hold(uid: string, limitMs: number, signal: AbortSignal): Promise<number> {
    const { number } = await this.#mapErrors(this.#client.call('hold', { uid, limitMs }, { signal, timeoutMs: limitMs + HOLD_MARGIN_MS }));
    return fromInt64(number);
  }

  async release(uid: string, hold: number, signal: AbortSignal): Promise<boolean> {
    const { heldThroughout } = await this.#mapErrors(this.#client.call('release', { uid, number: int64(hold) }, { signal }));
    return heldThroughout ?? false;
  }

  async getHeard(signal: AbortSignal): Promise<TargetSilences> {
    const { listeningMs, hosts } = await this.#mapErrors(this.#client.call('getHeard', {}, { signal, timeoutMs: STATS_LIMIT_MS }));
    const silences = (hosts ?? []).map(({ mac, silentMs }) => [mac ?? '', fromInt64(silentMs)] as const);
    return { listeningMs: fromInt64(listeningMs), silentMs: new Map(silences) };
  }

  async getStats(signal: AbortSignal): Promise<TargetStats> {
    const { latencyBoundsUs, volumes, interfaces, refused } = await this.#mapErrors(
      this.#client.call('getStats', {}, { signal, timeoutMs: STATS_LIMIT_MS }),
    );
    return {
      latencyBounds: (latencyBoundsUs ?? []).map((bound) => fromInt64(bound) / 1e6),
      volumes: (volumes ?? []).map((volume) => ({
        uid: volume.uid ?? '',
        initiators: (volume.initiators ?? []).map(initiatorOf),
        refused: refusedOf(volume.refused),
        reclaimed: fromInt64(volume.reclaimed),
      })),
      interfaces: (interfaces ?? []).map((entry) => ({
        name: entry.name ?? '',
        received: fromInt64(entry.received),
        sent: fromInt64(entry.sent),
        ringDropped: fromInt64(entry.ringDropped),
        receiveLost: fromInt64(entry.receiveLost),
        sendFailed: fromInt64(entry.sendFailed),
        answersDropped: fromInt64(entry.answersDropped),
      })),
      refused: refusedOf(refused),
    };
  }

  async *watch(signal: AbortSignal): AsyncIterable<TargetEvent> {
    try {
      for await (const message of this.#client.stream('watch', {}, { signal })) {
        if (message.changed) yield { type: 'changed', state: stateOf(message.changed) };
        else if (message.interface) yield { type: 'interface', interface: interfaceOf(message.interface) };
        else if (message.removed) yield { type: 'removed', uid: message.removed };
        else if (message.synced) yield { type: 'synced' };
      }
    } catch (error) {
      throw this.#error(error);
    }
  }

  close(): void {
    this.#client.close();
  }

  /** A change of a volume. It may have to wait for the disk of the volume. */
  async #change<R>(call: (within: { signal: AbortSignal; timeoutMs: number }) => Promise<R>, signal: AbortSignal): Promise<R> {
    try {
      return await call({ signal, timeoutMs: this.#changeLimitMs });
    } catch (error) {
      if (!(error instanceof RpcError) || error.code !== Code.DEADLINE_EXCEEDED) throw this.#error(error);
      await this.#mapErrors(this.#client.call('getInfo', {}, { signal, timeoutMs: INFO_LIMIT_MS }));
      throw new TargetError('waits', `it has not made the change within ${this.#changeLimitMs / 1000} s`, { cause: error });
    }
  }

  async #mapErrors<R>(call: Promise<R>): Promise<R> {
    try {
      return await call;
    } catch (error) {
      throw this.#error(error);
    }
  }

  #error(error: unknown): unknown {
    if (!(error instanceof RpcError)) return error;
    const message = error.code === Code.UNAVAILABLE ? `no process answers on ${this.#socket}` : error.message;
    return new TargetError(REASONS.get(error.code) ?? 'failed', message, { cause: error });
  }
}

function interfaceOf({ name, mac, mtu, serving, error }: aoe.target.v1.Interface.$Properties): TargetInterface {
  return { name: name ?? '', mac: mac ?? '', mtu: mtu ?? 0, serving: serving ?? false, error: error ?? '' };
}

function initiatorOf({ mac, repeats, dropped, throttledNs, ...kinds }: aoe.target.v1.InitiatorStats.$Properties): TargetInitiatorStats {
  const { read, write, flush } = kinds;
  const requests = {
    ...(read ? { read: requestsOf(read) } : {}),
    ...(write ? { write: requestsOf(write) } : {}),
    ...(flush ? { flush: requestsOf(flush) } : {}),
  };
  const counts = { repeats: fromInt64(repeats), dropped: fromInt64(dropped), throttled: fromInt64(throttledNs) / 1e9 };
  return { mac: mac ?? '', requests, ...counts };
}

function requestsOf({ errors, bytes, latencySumNs, latency }: aoe.target.v1.RequestStats.$Properties): TargetRequests {
  return {
    errors: fromInt64(errors),
    bytes: fromInt64(bytes),
    seconds: fromInt64(latencySumNs) / 1e9,
    latency: (latency ?? []).map(fromInt64),
  };
}

function refusedOf(refused: aoe.target.v1.RefusedFrames.$Properties[] | null | undefined): RefusedFrames {
  return Object.fromEntries((refused ?? []).map(({ reason, frames }) => [reason ?? '', fromInt64(frames)]));
}

function stateOf(state: VolumeState | null | undefined): TargetVolumeState {
  const { volume, sectors, configString, error } = state ?? {};
  if (!volume?.uid) throw new TargetError('failed', 'the target answered without the volume: agent and target have different versions');
  return {
    volume: {
      uid: volume.uid,
      shelf: volume.shelf ?? 0,
      slot: volume.slot ?? 0,
      path: volume.path ?? '',
      serial: volume.serial ?? '',
      readOnly: volume.readOnly ?? false,
      bytes: fromInt64(volume.sectors) * SECTOR,
      macs: volume.access?.macs ?? [],
      writesNeedLock: volume.access?.writesNeedLock ?? false,
      ...(volume.forCopies ? { forCopies: true as const } : {}),
      ...(volume.limits ? { limits: fromWire(volume.limits) } : {}),
      ...(volume.reclaim ? { reclaim: true as const } : {}),
    },
    bytes: fromInt64(sectors) * SECTOR,
    configString: configString ?? new Uint8Array(),
    error: error ?? '',
  };
}
