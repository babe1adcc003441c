import { aoeCopier, Code, fromInt64, int64, RpcClient, RpcError } from '../../rpc/mod.ts';
import {
  type CopierApi,
  CopierError,
  type CopierLimitApi,
  type CopierReason,
  type CopyJob,
  type CopyPhase,
  type CopySource,
  type CopyState,
} from './api.ts';

const { v1 } = aoeCopier.copier;

/** For calls that wait for no disk but that of the state directory, in milliseconds. */
const CALL_LIMIT_MS = 10_000;
/** The copier itself gives up waiting for the end of a job after 10 s. Calls that change one job are made one after the other. */
const STOP_LIMIT_MS = 30_000;

const REASONS = new Map<Code, CopierReason>([
  [Code.UNAVAILABLE, 'unavailable'],
  [Code.CANCELLED, 'unavailable'],
  [Code.NOT_FOUND, 'not-found'],
  [Code.ALREADY_EXISTS, 'conflict'],
  [Code.INVALID_ARGUMENT, 'invalid'],
  [Code.RESOURCE_EXHAUSTED, 'full'],
  [Code.DEADLINE_EXCEEDED, 'hangs'],
]);

const PHASES = new Map<number, CopyPhase>([
  [v1.Phase.PHASE_QUEUED, 'queued'],
  [v1.Phase.PHASE_COPYING, 'copying'],
  [v1.Phase.PHASE_VERIFYING, 'verifying'],
  [v1.Phase.PHASE_VERIFIED, 'verified'],
  [v1.Phase.PHASE_STOPPED, 'stopped'],
  [v1.Phase.PHASE_FAILED, 'failed'],
]);

/** Timers and clocks may differ by so much, in milliseconds. */
const EARLY_MS = 50;

interface Options {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
}

/** The copier process behind its unix socket. */
export class GrpcCopier implements CopierApi, CopierLimitApi {
  readonly #client: RpcClient<aoeCopier.copier.v1.Copier>;
  readonly #socket: string;
  readonly #callMs: number;
  readonly #stopMs: number;

  /** @param limits of calls in milliseconds: of those that end a job, and of others */
  constructor(socket: string, { callMs = CALL_LIMIT_MS, stopMs = STOP_LIMIT_MS }: { callMs?: number; stopMs?: number } = {}) {
    this.#socket = socket;
    this.#callMs = callMs;
    this.#stopMs = stopMs;
    this.#client = new RpcClient(v1.Copier, v1, socket);
  }

  async start({ source, bytes, bytesPerSecond, ...job }: CopyJob, signal: AbortSignal): Promise<CopyState> {
    const request = { job: { ...job, ...messageOf(source), bytes: int64(bytes), bytesPerSecond: int64(bytesPerSecond) } };
    return stateOf((await this.#ask((options) => this.#client.call('start', request, options), signal)).state);
  }

  async setLimit(bytesPerSecond: number, signal: AbortSignal): Promise<void> {
    const request = { bytesPerSecond: int64(bytesPerSecond) };
    await this.#ask((options) => this.#client.call('setLimit', request, options), signal);
  }

  async get(id: string, signal: AbortSignal): Promise<CopyState | undefined> {
    try {
      return stateOf((await this.#ask((options) => this.#client.call('get', { id }, options), signal)).state);
    } catch (error) {
      if (error instanceof CopierError && error.reason === 'not-found') return undefined;
      throw error;
    }
  }

  async list(signal: AbortSignal): Promise<CopyState[]> {
    const { states } = await this.#ask((options) => this.#client.call('list', {}, options), signal);
    return (states ?? []).map(stateOf);
  }

  async stop(id: string, signal: AbortSignal): Promise<CopyState> {
    return stateOf((await this.#ask((options) => this.#client.call('stop', { id }, options), signal, this.#stopMs)).state);
  }

  async remove(id: string, signal: AbortSignal): Promise<void> {
    await this.#ask((options) => this.#client.call('remove', { id }, options), signal, this.#stopMs);
  }

  close(): void {
    this.#client.close();
  }

  /** @throws CopierError */
  async #ask<R>(call: (options: Options) => Promise<R>, signal: AbortSignal, timeoutMs = this.#callMs): Promise<R> {
    const began = performance.now();
    try {
      return await call({ signal, timeoutMs });
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      // What the copier says of a disk that hangs comes long before the limit of the call.
      if (error.code === Code.DEADLINE_EXCEEDED && performance.now() - began > timeoutMs - EARLY_MS) {
        const message = `the copier on ${this.#socket} has not answered within ${timeoutMs / 1000} s`;
        throw new CopierError('unavailable', message, { cause: error });
      }
      const message = error.code === Code.UNAVAILABLE ? `no copier answers on ${this.#socket}` : error.message;
      throw new CopierError(REASONS.get(error.code) ?? 'failed', message, { cause: error });
    }
  }
}

function messageOf(source: CopySource) {
  if (source.kind === 'local') return { local: { path: source.path } };
  const { shelf, slot, serial, interfaces } = source;
  return { aoe: { shelf, slot, serial, interfaces } };
}

function stateOf(state: aoeCopier.copier.v1.JobState.$Properties | null | undefined): CopyState {
  const phase = PHASES.get(state?.phase ?? 0);
  if (!state?.job?.id || !phase)
    throw new CopierError('failed', 'the copier answered without a job that is known here: agent and copier have different versions');
  const problemSince = fromInt64(state.problemSince);
  return {
    id: state.job.id,
    phase,
    bytes: fromInt64(state.job.bytes),
    zeroed: state.job.destination?.zeroed ?? false,
    copied: fromInt64(state.copied),
    verified: fromInt64(state.verified),
    read: fromInt64(state.read),
    repaired: fromInt64(state.repaired),
    problem: state.problem ?? '',
    problemSince: problemSince > 0 ? new Date(problemSince * 1000) : undefined,
  };
}
