import { aoe, Code, fromInt64, type Handlers, int64, RpcError, RpcServer } from '../../rpc/mod.ts';
import {
  type TargetAccess,
  TargetError,
  type TargetEvent,
  type TargetRequests,
  type TargetVolume,
  type TargetVolumeState,
} from '../target/api.ts';
import { fromWire, toWire } from '../target/wire-limits.ts';
import type { FakeTarget } from './fake-target.ts';

const { v1 } = aoe.target;
const CODES = {
  unavailable: Code.UNAVAILABLE,
  waits: Code.DEADLINE_EXCEEDED,
  'not-found': Code.NOT_FOUND,
  conflict: Code.ALREADY_EXISTS,
  invalid: Code.INVALID_ARGUMENT,
  precondition: Code.FAILED_PRECONDITION,
  failed: Code.INTERNAL,
} as const;

const accessOf = (access: aoe.target.v1.Access.$Properties | null | undefined): TargetAccess => ({
  macs: access?.macs ?? [],
  writesNeedLock: access?.writesNeedLock ?? false,
});

/** Puts a fake target behind a real socket. */
export function targetServer(fake: FakeTarget, socket: string): RpcServer {
  const answer = async <R>(work: Promise<R>): Promise<R> => {
    try {
      return await work;
    } catch (error) {
      throw error instanceof TargetError ? new RpcError(CODES[error.reason], error.message) : error;
    }
  };
  const state = ({ volume, bytes, configString, error }: TargetVolumeState) => {
    const { macs, writesNeedLock, bytes: exported, limits, ...rest } = volume;
    const wire = limits ? { limits: new v1.Limits(toWire(limits)) } : {};
    return new v1.VolumeState({
      volume: new v1.Volume({ ...rest, ...wire, sectors: int64(exported / 512), access: new v1.Access({ macs, writesNeedLock }) }),
      sectors: int64(bytes / 512),
      configString,
      error,
    });
  };
  const refused = (frames: Record<string, number>) =>
    Object.entries(frames).map(([reason, count]) => new v1.RefusedFrames({ reason, frames: int64(count) }));
  const requests = (counts: TargetRequests | undefined) =>
    counts &&
    new v1.RequestStats({
      errors: int64(counts.errors),
      bytes: int64(counts.bytes),
      latencySumNs: int64(counts.seconds * 1e9),
      latency: counts.latency.map(int64),
    });
  const message = (event: TargetEvent) => {
    switch (event.type) {
      case 'changed':
        return { changed: state(event.state) };
      case 'removed':
        return { removed: event.uid };
      case 'synced':
        return { synced: true };
      case 'interface':
        return { interface: new v1.Interface(event.interface) };
    }
  };
  const handlers: Handlers<aoe.target.v1.Target> = {
    getInfo: async () => {
      const { interfaces, ...info } = await answer(fake.getInfo());
      return { ...info, interfaces: interfaces.map((each) => new v1.Interface(each)) };
    },
    setInterfaces: async ({ names }) => {
      const interfaces = await answer(fake.setInterfaces(names ?? []));
      return { interfaces: interfaces.map((each) => new v1.Interface(each)) };
    },
    export: async ({ volume }) => {
      const { access, sectors, limits, ...rest } = volume ?? {};
      const bytes = fromInt64(sectors) * 512;
      const { uid = '', shelf = 0, slot = 0, path = '', serial = '', readOnly = false } = rest as Partial<TargetVolume>;
      const forCopies = volume?.forCopies ? { forCopies: true as const } : {};
      const reclaim = volume?.reclaim ? { reclaim: true as const } : {};
      const further = { ...forCopies, ...reclaim, ...accessOf(access), ...(limits ? { limits: fromWire(limits) } : {}) };
      return { state: state(await answer(fake.export({ uid, shelf, slot, path, serial, readOnly, bytes, ...further }))) };
    },
    unexport: async ({ uid }) => {
      await answer(fake.unexport(uid ?? ''));
      return {};
    },
    setAccess: async ({ uid, access }) => ({ state: state(await answer(fake.setAccess(uid ?? '', accessOf(access)))) }),
    replaceConfigString: async ({ uid, expected, replacement }) => ({
      state: state(await answer(fake.replaceConfigString(uid ?? '', expected ?? new Uint8Array(), replacement ?? new Uint8Array()))),
    }),
    hold: async ({ uid }) => ({ number: int64(await answer(fake.hold(uid ?? ''))) }),
    release: async ({ uid, number }) => ({ heldThroughout: await answer(fake.release(uid ?? '', fromInt64(number))) }),
    getHeard: async () => {
      const { listeningMs, silentMs } = await answer(fake.getHeard());
      const hosts = [...silentMs].map(([mac, ms]) => new v1.HeardHost({ mac, silentMs: int64(ms) }));
      return { listeningMs: int64(listeningMs), hosts };
    },
    getStats: async () => {
      const stats = await answer(fake.getStats());
      return {
        latencyBoundsUs: stats.latencyBounds.map((bound) => int64(bound * 1e6)),
        volumes: stats.volumes.map(
          ({ uid, initiators, refused: frames, reclaimed }) =>
            new v1.VolumeStats({
              uid,
              initiators: initiators.map(({ mac, requests: { read, write, flush }, repeats, dropped, throttled }) => {
                const kinds = { read: requests(read) ?? null, write: requests(write) ?? null, flush: requests(flush) ?? null };
                const counts = { repeats: int64(repeats), dropped: int64(dropped), throttledNs: int64(throttled * 1e9) };
                return new v1.InitiatorStats({ mac, ...kinds, ...counts });
              }),
              refused: refused(frames),
              reclaimed: int64(reclaimed),
            }),
        ),
        interfaces: stats.interfaces.map(({ name, ...counts }) => {
          const frames = Object.fromEntries(Object.entries(counts).map(([key, count]) => [key, int64(count)]));
          return new v1.InterfaceStats({ name, ...frames });
        }),
        refused: refused(stats.refused),
      };
    },
    // For people at the node, not for the agent.
    async *trace() {},
    async *watch(_request, { signal }) {
      for await (const event of fake.watch(signal)) yield message(event);
    },
  };
  return new RpcServer({ socket, log: { debug() {}, info() {}, error() {} } }).add(v1.Target, v1, handlers);
}
