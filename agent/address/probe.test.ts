import { pino } from 'pino';
import {
  AtaCommand,
  Command,
  emitAta,
  emitConfig,
  emitFrame,
  emitIdentity,
  Flag,
  type FrameSocket,
  parseAta,
  parseConfig,
  parseFrame,
} from '../../aoe/mod.ts';
import { AddressProbe } from './probe.ts';

const OWN = '02:00:00:00:00:01';
const log = pino({ level: 'silent' });
const signal = new AbortController().signal;

interface Answers {
  afterMs?: number;
  error?: number;
  /** Nothing but drain() reads them, since the threads of Node's pool have other work. */
  unread?: boolean;
}

/** An interface on which targets with these MACs answer everything. */
function wire(
  macs: string[],
  open: Set<string>,
  sent: string[],
  { afterMs = 0, error = 0, unread = false }: Answers = {},
): (name: string) => FrameSocket {
  return (name) => {
    let hear: (frame: Uint8Array) => void = () => {};
    const arrived: Uint8Array[] = [];
    open.add(name);
    return {
      interfaceName: name,
      mac: OWN,
      onFrame: (handler) => {
        hear = handler;
      },
      send: (bytes) => {
        const frame = parseFrame(bytes);
        const ata = frame?.header.command === Command.Ata ? parseAta(frame.argument) : undefined;
        if (frame && ata?.command === AtaCommand.Identify) {
          const header = { ...frame.header, source: frame.header.destination, destination: OWN, flags: Flag.Response };
          const data = emitIdentity({ serial: 'S1', firmware: '1', model: 'm', sectors: 16 });
          setImmediate(() => hear(emitFrame({ header, argument: emitAta({ ...ata, command: 0x40, data }) })));
        }
        if (ata) return;
        const argument = frame && parseConfig(frame.argument);
        if (!frame || !argument) return;
        sent.push(`e${frame.header.shelf}.${frame.header.slot}`);
        for (const mac of macs) {
          const flags = error ? Flag.Response | Flag.Error : Flag.Response;
          const header = { ...frame.header, source: mac, destination: OWN, flags, error };
          const string = Buffer.from(error ? '' : 'lock');
          const answer = emitFrame({ header, argument: emitConfig({ ...argument, string }) });
          if (unread) arrived.push(answer);
          else setTimeout(() => hear(answer), afterMs);
        }
      },
      drain: () => {
        for (const answer of arrived.splice(0)) hear(answer);
      },
      close: () => open.delete(name),
    };
  };
}

interface Settings extends Answers {
  names?: string[];
  open?: Set<string>;
  sent?: string[];
}

const segment = (macs: string[], { names = ['eth1'], open = new Set(), sent = [], ...answers }: Settings = {}) =>
  new AddressProbe({ interfaces: () => names, ownMacs: () => new Set([OWN]), open: wire(macs, open, sent, answers), log });

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

test('a target that is busy is found by a probe that is patient', async () => {
  const asked = segment(['02:00:00:00:00:66'], { afterMs: 700 });
  expect(await asked.ask({ shelf: 1, slot: 1 }, signal)).toBeUndefined();
  expect(await asked.ask({ shelf: 1, slot: 1 }, signal, { isPatient: true })).toMatchObject({ mac: '02:00:00:00:00:66' });
});

test('an answer that was not read, because the threads of the pool have other work, is no silence', async () => {
  const asked = segment([OWN, '02:00:00:00:00:66'], { unread: true });
  expect(await asked.ask({ shelf: 1, slot: 1 }, signal)).toMatchObject({ mac: '02:00:00:00:00:66' });
  expect(await asked.survey({ shelf: 1, slot: 1 }, signal)).toMatchObject([{ mac: '02:00:00:00:00:66', serial: 'S1' }]);
});

test('a target that refuses to say its config string is not taken for one that nobody has', async () => {
  const [found] = await segment(['02:00:00:00:00:66'], { error: 2 }).survey({ shelf: 1, slot: 1 }, signal);
  expect(found).toMatchObject({ configString: undefined, serial: 'S1' });
});

test('a survey finds what others serve at the address, and who has it', async () => {
  const open = new Set<string>();
  const asked = segment([OWN, '02:00:00:00:00:66'], { open });
  expect(await asked.survey({ shelf: 1, slot: 1 }, signal)).toStrictEqual([
    { mac: '02:00:00:00:00:66', interface: 'eth1', configString: new Uint8Array(Buffer.from('lock')), serial: 'S1', bytes: 8192 },
  ]);
  expect(await segment([OWN]).survey({ shelf: 1, slot: 1 }, signal)).toStrictEqual([]);
  expect(open.size).toBe(0);
});

test('without an interface to ask on, silence proves nothing', async () => {
  await expect(segment([], { names: [] }).ask({ shelf: 1, slot: 1 }, signal)).rejects.toThrow(/is one of --interfaces up/);
});

test('a probe that begins when there is another interface asks on that one, too, although another probe is under way', async () => {
  const [names, open, sent] = [['eth1'], new Set<string>(), [] as string[]];
  const probe = segment([], { names, open, sent });
  const first = probe.ask({ shelf: 1, slot: 2 }, signal, { isPatient: true });
  names.push('eth2');
  await probe.ask({ shelf: 3, slot: 4 }, signal);
  expect(sent.filter((address) => address === 'e3.4')).toHaveLength(8);
  await first;
  expect(open.size).toBe(0);
});
