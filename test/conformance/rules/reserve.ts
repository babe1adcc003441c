import { AtaCommand } from '../../../aoe/wire/ata.ts';
import { Command, ErrorCode } from '../../../aoe/wire/header.ts';
import { ReserveCommand } from '../../../aoe/wire/reserve.ts';
import { type Check, check, equal, type Group } from '../check.ts';
import { pattern } from '../pattern.ts';

const { Read, Set: Claim, Force } = ReserveCommand;
const rule = (name: string, run: Check['run'], source = 'AoEr11 3.4'): Check => check(name, source, run);

export const reserve: Group = {
  name: 'Reserve list',
  checks: [
    rule('reads an empty list', async ({ a }) => equal((await a.reserve(Read)).fine().reserve.macs, [], 'the list')),
    rule('sets an empty list, and answers with it', async ({ a }) => {
      equal((await a.reserve(Claim, [a.mac])).fine().reserve.macs, [a.mac], 'the list of the answer');
      equal((await a.reserve(Read)).reserve.macs, [a.mac], 'the list');
    }),
    rule('keeps reads and writes from others, with error 6', async ({ a, b }) => {
      const data = pattern(30, 1);
      (await a.write(20, data)).good();
      await a.reserve(Claim, [a.mac]);
      (await b.read(20)).refused(ErrorCode.TargetReserved);
      (await b.ata(AtaCommand.Read, { lba: 20, count: 1 })).refused(ErrorCode.TargetReserved);
      (await b.ata(AtaCommand.WriteExt, { lba: 20, count: 1, data: pattern(31, 1) })).refused(ErrorCode.TargetReserved);
      equal((await a.read(20)).sectors(1), data, 'the sector');
    }),
    rule('reads and writes for those on the list', async ({ a, b }) => {
      await a.reserve(Claim, [b.mac, a.mac]);
      (await a.write(21, pattern(32, 1))).good();
      equal((await b.read(21)).sectors(1), pattern(32, 1), 'the sector');
    }),
    rule(
      'lets others identify it and read its config string',
      async ({ a, b }) => {
        await a.reserve(Claim, [a.mac]);
        (await b.identify()).sectors(1);
        (await b.query()).fine();
      },
      'AoEr11 3.4: reads and writes only',
    ),
    rule('shows the list to all', async ({ a, b }) => {
      await a.reserve(Claim, [a.mac]);
      equal((await b.reserve(Read)).fine().reserve.macs, [a.mac], 'the list');
    }),
    rule('does not let others set the list: error 6', async ({ a, b }) => {
      await a.reserve(Claim, [a.mac]);
      (await b.reserve(Claim, [b.mac])).refused(ErrorCode.TargetReserved);
      equal((await a.reserve(Read)).reserve.macs, [a.mac], 'the list');
    }),
    rule('carries the list in that answer, too', async ({ a, b }) => {
      await a.reserve(Claim, [a.mac]);
      equal((await b.reserve(Claim, [b.mac])).refused(ErrorCode.TargetReserved).reserve.macs, [a.mac], 'the list of the answer');
    }),
    rule('lets those on the list change and empty it', async ({ a, b }) => {
      await a.reserve(Claim, [a.mac]);
      equal((await a.reserve(Claim, [b.mac])).fine().reserve.macs, [b.mac], 'the list');
      equal((await b.reserve(Claim)).fine().reserve.macs, [], 'the list');
      (await a.read(0)).sectors(1);
    }),
    rule('lets anyone force the list', async ({ a, b }) => {
      await a.reserve(Claim, [a.mac]);
      equal((await b.reserve(Force, [b.mac])).fine().reserve.macs, [b.mac], 'the list');
      (await a.read(0)).refused(ErrorCode.TargetReserved);
      (await b.read(0)).sectors(1);
    }),
    rule('keeps three addresses in their order', async ({ a, b, c }) => {
      const all = [c.mac, a.mac, b.mac];
      equal((await a.reserve(Claim, all)).fine().reserve.macs, all, 'the list');
      for (const host of [a, b, c]) (await host.read(0)).sectors(1);
    }),
    rule('answers reserve commands that it does not know with error 2', async ({ a }) => {
      (await a.reserve(7, [a.mac])).refused(ErrorCode.BadArgument);
      equal((await a.reserve(Read)).reserve.macs, [], 'the list');
    }),
    rule(
      'answers a count beyond the frame with error 2',
      async ({ a }) => {
        (await a.ask(Command.Reserve, Uint8Array.of(Claim, 200, 2, 0, 0x5e, 0, 0x53, 0x0a))).refused(ErrorCode.BadArgument);
        equal((await a.reserve(Read)).reserve.macs, [], 'the list');
      },
      'AoEr11 2.4, 3.4',
    ),
  ],
};
