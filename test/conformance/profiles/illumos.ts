import { AtaCommand } from '../../../aoe/wire/ata.ts';
import { ReserveCommand } from '../../../aoe/wire/reserve.ts';
import { type Check, check, equal, type Group } from '../check.ts';
import { pattern } from '../pattern.ts';

const exchange = (name: string, run: Check['run']): Check => check(name, 'illumos, Nexenta: aoe driver', run);
const SET_FEATURES = 0xef;
const WRITE_CACHE = { on: 0x02, off: 0x82 };

export const illumos: Group = {
  name: 'illumos, Nexenta',
  checks: [
    exchange('config queries as keep-alive: three in a row, each answered', async ({ a }) => {
      for (let time = 0; time < 3; time++) (await a.query()).fine();
    }),
    exchange('keep-alive while the data path is busy', async ({ a, perFrame, bufferCount }) => {
      const read = a.registers(AtaCommand.ReadExt, { count: perFrame });
      const tags = Array.from({ length: Math.min(bufferCount, 64) }, () => a.send(0, read));
      (await a.query()).fine();
      for (const tag of tags) (await a.answer(tag)).sectors(perFrame);
    }),
    exchange('SET FEATURES: write cache on and off', async ({ a }) => {
      for (const feature of [WRITE_CACHE.on, WRITE_CACHE.off]) (await a.ata(SET_FEATURES, { feature })).good();
    }),
    exchange('FLUSH CACHE', async ({ a }) => {
      (await a.write(37, pattern(90, 1))).good();
      (await a.ata(AtaCommand.FlushCache)).good();
    }),
    exchange('reserve: read, set, release', async ({ a }) => {
      equal((await a.reserve(ReserveCommand.Read)).fine().reserve.macs, [], 'the list');
      equal((await a.reserve(ReserveCommand.Set, [a.mac])).fine().reserve.macs, [a.mac], 'the list');
      equal((await a.reserve(ReserveCommand.Set)).fine().reserve.macs, [], 'the list');
    }),
  ],
};
