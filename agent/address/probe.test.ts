import { pino } from 'pino';
import { emitConfig, emitFrame, Flag, type FrameSocket, parseConfig, parseFrame } from '../../aoe/mod.ts';
import { AddressProbe } from './probe.ts';

const OWN = '02:00:00:00:00:01';
const log = pino({ level: 'silent' });
const signal = new AbortController().signal;

/** An interface on which targets with these MACs answer everything. */
function wire(macs: string[], open: Set<string>, sent: string[]): (name: string) => FrameSocket {
  return (name) => {
    let hear: (frame: Uint8Array) => void = () => {};
    open.add(name);
    return {
      interfaceName: name,
      mac: OWN,
      onFrame: (handler) => {
        hear = handler;
      },
      send: (bytes) => {
        const frame = parseFrame(bytes);
        const argument = frame && parseConfig(frame.argument);
        if (!frame || !argument) return;
        sent.push(`e${frame.header.shelf}.${frame.header.slot}`);
        for (const mac of macs) {
          const header = { ...frame.header, source: mac, destination: OWN, flags: Flag.Response };
          setImmediate(() => hear(emitFrame({ header, argument: emitConfig(argument) })));
        }
      },
      close: () => open.delete(name),
    };
  };
}

const segment = (macs: string[], { names = ['eth1'], open = new Set<string>(), sent = [] as string[] } = {}) =>
  new AddressProbe({ interfaces: () => names, ownMacs: () => new Set([OWN]), open: wire(macs, open, sent), log });

test('after four queries without an answer nobody is there, and the sockets are closed', async () => {
  const open = new Set<string>();
  const sent: string[] = [];
  const asked = segment([], { open, sent });
  const answers = await Promise.all([asked.ask({ shelf: 1, slot: 1 }, signal), asked.ask({ shelf: 1, slot: 2 }, signal)]);
  expect(answers).toStrictEqual([undefined, undefined]);
  for (const address of ['e1.1', 'e1.2']) expect(sent.filter((each) => each === address)).toHaveLength(4);
  expect(open.size).toBe(0);
});

test('our own target on another interface is not another target', async () => {
  expect(await segment([OWN]).ask({ shelf: 1, slot: 1 }, signal)).toBeUndefined();
});

test('another target is named with the interface that received its answer', async () => {
  const found = await segment([OWN, '02:00:00:00:00:66']).ask({ shelf: 1, slot: 1 }, signal);
  expect(found).toStrictEqual({ mac: '02:00:00:00:00:66', interface: 'eth1' });
});

test('without an interface to ask on, silence proves nothing', async () => {
  await expect(segment([], { names: [] }).ask({ shelf: 1, slot: 1 }, signal)).rejects.toThrow(/is one of --interfaces up/);
});
