import { setMaxListeners } from 'node:events';
import { pino } from 'pino';
import { TargetConnection } from '../../agent/target/connection.ts';
import type { FakeTarget } from '../../agent/testing/fake-target.ts';
import type { Life } from './life.ts';

/** A connection of an agent to a fake target, until the signal aborts. The calls that change something are counted as the agent's. */
export async function linkTo(target: FakeTarget, life: Life, signal: AbortSignal): Promise<TargetConnection> {
  // Each agent that is started has one.
  setMaxListeners(0, signal);
  const calls = life.wrap(target, ['export', 'unexport', 'setAccess', 'replaceConfigString', 'hold', 'release']);
  const api = {
    ...calls,
    getInfo: () => target.getInfo(),
    setInterfaces: (names: string[]) => target.setInterfaces(names),
    getStats: () => target.getStats(),
    getHeard: () => target.getHeard(),
    watch: (stop: AbortSignal) => target.watch(stop),
  };
  const link = new TargetConnection(api, pino({ level: 'silent' }));
  const connected = new Promise<void>((resolve) => link.subscribe(() => link.connected && resolve()));
  void link.run(signal);
  await connected;
  return link;
}
