import { AtaCommand } from '../../../aoe/wire/ata.ts';
import { ConfigCommand, configRequest, emitConfig } from '../../../aoe/wire/config.ts';
import { Command, ErrorCode, Flag, MIN_FRAME } from '../../../aoe/wire/header.ts';
import { MaskCommand } from '../../../aoe/wire/mask.ts';
import { ReserveCommand } from '../../../aoe/wire/reserve.ts';
import type { Answer } from '../answer.ts';
import { check, equal, type Group, must } from '../check.ts';
import type { Session } from '../session.ts';

const QUERY = emitConfig(configRequest(ConfigCommand.Read));

/** One answer of each kind: success and error, with and without an argument. */
async function kinds({ a }: Session): Promise<Map<string, Answer>> {
  return new Map([
    ['config read', await a.query()],
    ['IDENTIFY', await a.identify()],
    ['READ', await a.read(0)],
    ['FLUSH', await a.ata(AtaCommand.FlushCache)],
    ['an aborted ATA command', await a.ata(0xb0)],
    ['mask read', await a.mask([], { command: MaskCommand.Read })],
    ['reserve read', await a.reserve(ReserveCommand.Read)],
    ['an unknown command', await a.ask(0x42, new Uint8Array(8))],
  ]);
}

export const header: Group = {
  name: 'Header',
  checks: [
    check('answers with version 1', 'AoEr11 2.2', async (session) => {
      for (const [kind, answer] of await kinds(session)) equal(answer.header.version, 1, `the version of the answer to ${kind}`);
    }),
    check('sets R, and only R, in answers without error', 'AoEr11 2.3', async ({ a }) => {
      for (const answer of [await a.query(), await a.identify(), await a.read(0)]) {
        equal(answer.header.flags, Flag.Response, 'the flags');
        equal(answer.header.error, 0, 'the error field');
      }
    }),
    check('ignores frames with R set', 'AoEr11 2.3', async ({ a }) => {
      await a.silence(Command.Config, QUERY, { flags: Flag.Response });
      await a.silence(Command.Config, QUERY, { flags: Flag.Response | Flag.Error, error: 2 });
      await a.silence(Command.Ata, a.registers(AtaCommand.Identify, { count: 1 }), { flags: Flag.Response });
    }),
    check('does nothing that a frame with R set says', 'AoEr11 2.3', async ({ a }) => {
      await a.silence(Command.Config, emitConfig(configRequest(ConfigCommand.Force, Buffer.from('reflected'))), { flags: Flag.Response });
      equal((await a.query()).string, '', 'the config string');
    }),
    check('ignores reserved flags and the error field of requests', 'AoEr11 1, 2.3, 2.4', async ({ a }) => {
      const answer = (await a.query({ flags: 0x03, error: 0x55 })).fine();
      equal(answer.header.flags, Flag.Response, 'the flags');
    }),
    check('answers other versions with error 5', 'AoEr11 2.2, 2.4', async ({ a }) => {
      for (const version of [2, 15]) {
        const answer = (await a.query({ version })).refused(ErrorCode.UnsupportedVersion);
        equal(answer.header.version, 1, 'the version of the answer');
      }
    }),
    check('answers unknown commands with error 1', 'AoEr11 2.4, 2.7', async ({ a }) => {
      for (const command of [4, 0x42, 0xef]) (await a.ask(command, new Uint8Array(8))).refused(ErrorCode.UnrecognizedCommand);
    }),
    check('answers vendor commands that it does not have with error 1', 'AoEr11 2.4, 2.7', async ({ a }) => {
      for (const command of [0xf0, 0xff]) (await a.ask(command, new Uint8Array(8))).refused(ErrorCode.UnrecognizedCommand);
    }),
    check('echoes the command', 'AoEr11 2.7', async ({ a }) => {
      equal((await a.query()).header.command, Command.Config, 'the command');
      equal((await a.identify()).header.command, Command.Ata, 'the command');
      equal((await a.ask(0x42, new Uint8Array(8))).header.command, 0x42, 'the command');
    }),
    check('echoes any tag', 'AoEr11 2.8', async ({ a }) => {
      for (const tag of [0, 1, 0x0102_0304, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff])
        equal((await a.query({ tag })).header.tag, tag, 'the tag');
    }),
    check('answers to the sender, from one address', 'AoEr11 2.1', async (session) => {
      for (const [kind, answer] of await kinds(session)) {
        equal(answer.header.destination, session.a.mac, `where the answer to ${kind} goes`);
        equal(answer.header.source, session.mac, `where the answer to ${kind} comes from`);
      }
      must((Number.parseInt(session.mac.slice(0, 2), 16) & 1) === 0, `its own address, ${session.mac}, is a group's`);
    }),
    check('pads every answer to 60 bytes', 'AoEr11 2.1; IEEE 802.3; aoetools take none that is shorter', async (session) => {
      for (const [kind, { bytes }] of await kinds(session)) {
        must(bytes.length >= MIN_FRAME, `the answer to ${kind} has ${bytes.length} bytes`);
      }
    }),
    check('pads with zeros', 'IEEE 802.3; nothing of other memory leaks', async ({ a }) => {
      for (const answer of [await a.query(), await a.reserve(ReserveCommand.Read)]) {
        const used = answer.header.command === Command.Config ? 24 + 8 + answer.config.string.length : 26;
        must(
          answer.bytes.subarray(used).every((byte) => byte === 0),
          `padding is ${Buffer.from(answer.bytes.subarray(used)).toString('hex')}`,
        );
      }
    }),
    check('does not mind padding of requests', 'AoEr11 2.9; IEEE 802.3', async ({ a, mtu }) => {
      for (const pad of [60, 61, 1024, Math.min(mtu + 14, 1514)]) (await a.query({ pad })).fine();
    }),
    check('takes requests shorter than 60 bytes', 'some initiators hand 32 or 36 bytes to a virtual cable', async ({ a }) => {
      (await a.query({ pad: 0 })).fine();
      (await a.ata(AtaCommand.ReadExt, { count: 1 }, { pad: 0 })).sectors(1);
    }),
  ],
};
