import { aoe, Code, type Handlers, RpcError, RpcServer } from '../../rpc/mod.ts';
import { TargetError, type TargetEvent, type TargetVolume, type TargetVolumeState } from '../target-api.ts';
import type { FakeTarget } from './fake-target.ts';

const { v1 } = aoe.target;
const CODES = {
  unavailable: Code.UNAVAILABLE,
  'not-found': Code.NOT_FOUND,
  conflict: Code.ALREADY_EXISTS,
  invalid: Code.INVALID_ARGUMENT,
  precondition: Code.FAILED_PRECONDITION,
  failed: Code.INTERNAL,
} as const;

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
    const { macs, ...rest } = volume;
    return new v1.VolumeState({
      volume: new v1.Volume({ ...rest, access: new v1.Access({ macs }) }),
      sectors: (bytes / 512) as never,
      configString,
      error,
    });
  };
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
      const { version, interfaces } = await answer(fake.getInfo());
      return { version, interfaces: interfaces.map((each) => new v1.Interface(each)) };
    },
    setInterfaces: async ({ names }) => {
      const interfaces = await answer(fake.setInterfaces(names ?? []));
      return { interfaces: interfaces.map((each) => new v1.Interface(each)) };
    },
    export: async ({ volume }) => {
      const { access, ...rest } = volume ?? {};
      const { uid = '', shelf = 0, slot = 0, path = '', serial = '', readOnly = false } = rest as Partial<TargetVolume>;
      return { state: state(await answer(fake.export({ uid, shelf, slot, path, serial, readOnly, macs: access?.macs ?? [] }))) };
    },
    unexport: async ({ uid }) => {
      await answer(fake.unexport(uid ?? ''));
      return {};
    },
    setAccess: async ({ uid, access }) => ({ state: state(await answer(fake.setAccess(uid ?? '', access?.macs ?? []))) }),
    replaceConfigString: async ({ uid, expected, replacement }) => ({
      state: state(await answer(fake.replaceConfigString(uid ?? '', expected ?? new Uint8Array(), replacement ?? new Uint8Array()))),
    }),
    async *watch(_request, { signal }) {
      for await (const event of fake.watch(signal)) yield message(event);
    },
  };
  return new RpcServer({ socket, log: { debug() {}, info() {}, error() {} } }).add(v1.Target, v1, handlers);
}
