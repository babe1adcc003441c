import { AtaCommand } from '../../../aoe/wire/ata.ts';
import { ConfigCommand, configRequest, emitConfig } from '../../../aoe/wire/config.ts';
import { Command, emitFrame } from '../../../aoe/wire/header.ts';
import { check, equal, type Group, must } from '../check.ts';
import { pattern } from '../pattern.ts';
import type { Session } from '../session.ts';

const HEADER = 24;
const QUERY = emitConfig(configRequest(ConfigCommand.Read));

/** A whole frame of host A to the target, to be maimed. */
function frame({ a, mac, address }: Session, command: number, argument: Uint8Array, tag: number): Uint8Array {
  const header = { destination: mac, source: a.mac, version: 1, flags: 0, error: 0, ...address, command, tag };
  return emitFrame({ header, argument });
}

async function lives(session: Session): Promise<void> {
  await session.settle();
  (await session.a.identify()).sectors(1);
}

export const hostile: Group = {
  name: 'Hostile frames',
  checks: [
    check('ignores frames cut in the header', 'AoEr11 2', async (session) => {
      const tag = session.freshTag();
      const whole = frame(session, Command.Config, QUERY, tag);
      for (let length = 14; length < HEADER; length++) session.transmit(whole.subarray(0, length));
      await lives(session);
      equal(session.heard.filter(({ header }) => header.tag === tag || header.tag === 0).length, 0, 'the number of answers');
    }),
    check('survives every command cut anywhere', 'AoEr11 2.4', async (session) => {
      const { a } = session;
      const requests: [number, Uint8Array][] = [
        [Command.Ata, a.registers(AtaCommand.Identify, { count: 1 })],
        [Command.Ata, a.registers(AtaCommand.ReadExt, { count: 1 })],
        [Command.Config, emitConfig(configRequest(ConfigCommand.TestExact, Buffer.from('abc')))],
        [Command.Mask, Uint8Array.of(0, 0, 0, 1, 0, 0, 2, 0, 0x5e, 0, 0x53, 0x0a)],
        [Command.Reserve, Uint8Array.of(0, 1, 2, 0, 0x5e, 0, 0x53, 0x0a)],
      ];
      for (const [command, argument] of requests) {
        for (let length = 0; length <= argument.length; length++) {
          session.transmit(frame(session, command, argument.subarray(0, length), session.freshTag()));
        }
      }
      await lives(session);
    }),
    check('writes nothing of a write that is cut anywhere', 'AoEr11 2.4, 3.1', async (session) => {
      const { a } = session;
      (await a.write(24, pattern(40, 1))).good();
      const whole = frame(
        session,
        Command.Ata,
        a.registers(AtaCommand.WriteExt, { lba: 24, count: 1, data: pattern(41, 1) }),
        session.freshTag(),
      );
      for (let length = HEADER; length < whole.length; length += 7) session.transmit(whole.subarray(0, length));
      await lives(session);
      equal((await a.read(24)).sectors(1), pattern(40, 1), 'the sector');
    }),
    check('answers an ATA argument that is cut short with error 2', 'AoEr11 2.4', async ({ a }) => {
      for (const length of [0, 11]) {
        (await a.ask(Command.Ata, a.registers(AtaCommand.ReadExt, { count: 1 }).subarray(0, length), { pad: 0 })).refused(2);
      }
    }),
    check('ignores other EtherTypes', 'AoEr11 2.1', async (session) => {
      const tag = session.freshTag();
      const bytes = frame(session, Command.Config, QUERY, tag);
      bytes[13] = 0xa3;
      session.transmit(bytes);
      await lives(session);
      equal(session.heard.filter(({ header }) => header.tag === tag).length, 0, 'the number of answers');
    }),
    check('does not answer to a group address', 'IEEE 802.3: no frame comes from one', async (session) => {
      for (const source of ['ff:ff:ff:ff:ff:ff', '01:00:5e:00:00:01']) {
        const tag = session.a.send(Command.Config, QUERY, { source });
        await lives(session);
        equal(session.heard.filter(({ header }) => header.tag === tag).length, 0, `the number of answers to ${source}`);
      }
    }),
    check('lives through frames of random bytes', 'nothing that comes off a wire ends a target', async (session) => {
      // The same each time. Only commands that change nothing: unknown ones, and config tests.
      let state = 1;
      const next = (): number => {
        state = (state * 48271) % 0x7fff_ffff;
        return state & 0xff;
      };
      for (let round = 0; round < 500; round++) {
        const argument = Uint8Array.from({ length: 8 + (next() % 64) }, next);
        argument[5] = 0x10 | (next() % 3);
        session.transmit(frame(session, round % 8 === 0 ? next() | 4 : Command.Config, argument, session.freshTag()));
      }
      await lives(session);
    }),
    check('hears one host while another sends all it can', 'no starvation', async (session) => {
      const { a, b, perFrame } = session;
      const read = b.registers(AtaCommand.ReadExt, { count: perFrame });
      for (let sent = 0; sent < 500; sent++) b.send(Command.Ata, read);
      // A frame may be lost in such a flood, by us as well; a second or a third gets through.
      let answered = false;
      for (let time = 0; time < 5 && !answered; time++) {
        answered = await a.identify({ limitMs: 2000 }).then(
          () => true,
          () => false,
        );
      }
      must(answered, 'it answers nobody else during a flood');
    }),
  ],
};
