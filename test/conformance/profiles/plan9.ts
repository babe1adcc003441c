import { AtaCommand } from '../../../aoe/wire/ata.ts';
import { ConfigCommand } from '../../../aoe/wire/config.ts';
import { BROADCAST_MAC, Command, MIN_FRAME } from '../../../aoe/wire/header.ts';
import { type Check, check, equal, type Group, must } from '../check.ts';
import { pattern } from '../pattern.ts';

const exchange = (name: string, run: Check['run']): Check => check(name, 'Plan 9, 9front: sdaoe', run);

export const plan9: Group = {
  name: 'Plan 9, 9front',
  checks: [
    exchange('discovery: broadcast config query with tag 0', async ({ a, address }) => {
      const { header } = (await a.query({ destination: BROADCAST_MAC, shelf: 0xffff, slot: 0xff, tag: 0 })).fine();
      equal([header.tag, header.shelf, header.slot], [0, address.shelf, address.slot], 'tag, shelf and slot');
    }),
    exchange('IDENTIFY', async ({ a }) => {
      (await a.ata(AtaCommand.Identify, { count: 1 })).sectors(1);
    }),
    exchange('READ EXT: the data is all that follows, n times 512 bytes', async ({ a, perFrame }) => {
      for (let count = 1; count <= perFrame; count++) (await a.read(0, count)).sectors(count);
    }),
    exchange('WRITE EXT: no data in the answer', async ({ a, perFrame }) => {
      const { length } = (await a.write(48, pattern(80, perFrame))).good().bytes;
      must(length <= MIN_FRAME, `the answer has ${length} bytes`);
    }),
    exchange('retransmission with the same tag', async (session) => {
      const { a } = session;
      await session.keep(50, 1);
      const tag = session.freshTag();
      const argument = a.registers(AtaCommand.WriteExt, { lba: 50, count: 1, data: pattern(81, 1) });
      for (let time = 0; time < 3; time++) a.send(Command.Ata, argument, { tag });
      (await a.answer(tag)).good();
      await session.settle();
      for (const answer of session.heard.filter(({ header }) => header.tag === tag)) answer.good();
      equal((await a.read(50)).sectors(1), pattern(81, 1), 'the sector');
    }),
    exchange('config: the string is forced', async ({ a }) => {
      equal((await a.config(ConfigCommand.Force, 'plan9')).fine().string, 'plan9', 'the string');
    }),
  ],
};
