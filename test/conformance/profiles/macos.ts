import { AtaCommand } from '../../../aoe/wire/ata.ts';
import { ConfigCommand } from '../../../aoe/wire/config.ts';
import { BROADCAST_MAC } from '../../../aoe/wire/header.ts';
import { type Check, check, equal, type Group } from '../check.ts';
import { pattern } from '../pattern.ts';

const exchange = (name: string, run: Check['run']): Check => check(name, 'macOS: aoe-osx', run);
const CLAIM = 'net.corvus.apple C02XL0GTJGH5 workstation';

export const macos: Group = {
  name: 'macOS',
  checks: [
    exchange('discovery: broadcast config query', async ({ a }) => {
      (await a.query({ destination: BROADCAST_MAC, shelf: 0xffff, slot: 0xff })).fine();
    }),
    exchange('the claim: a config string that is forced, and read by others', async ({ a, b }) => {
      equal((await a.config(ConfigCommand.Force, CLAIM)).fine().string, CLAIM, 'the string');
      equal((await b.query()).string, CLAIM, 'the string for another');
      equal((await a.config(ConfigCommand.Force, '')).fine().string, '', 'the string, given back');
    }),
    exchange('IDENTIFY again and again, for a new size', async ({ a, identity }) => {
      for (let time = 0; time < 3; time++) {
        const data = (await a.identify()).sectors(1);
        equal(Number(new DataView(data.buffer, data.byteOffset).getBigUint64(200, true)), identity.sectors, 'the size');
      }
    }),
    exchange('write, then FLUSH CACHE', async ({ a }) => {
      (await a.write(38, pattern(95, 1))).good();
      (await a.ata(AtaCommand.FlushCache)).good();
      equal((await a.read(38)).sectors(1), pattern(95, 1), 'the sector');
    }),
    exchange('SET FEATURES: write cache and read-ahead', async ({ a }) => {
      for (const feature of [0x02, 0x82, 0xaa, 0x55]) (await a.ata(0xef, { feature })).good();
    }),
  ],
};
