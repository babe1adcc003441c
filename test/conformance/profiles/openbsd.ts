import { AtaCommand } from '../../../aoe/wire/ata.ts';
import { BROADCAST_MAC, viewOf } from '../../../aoe/wire/header.ts';
import { type Check, check, equal, type Group } from '../check.ts';
import { pattern } from '../pattern.ts';

const exchange = (name: string, run: Check['run']): Check => check(name, 'OpenBSD: softraid AOE', run);

export const openbsd: Group = {
  name: 'OpenBSD',
  checks: [
    exchange('discovery: config query to the shelf and slot', async ({ a }) => {
      (await a.query({ destination: BROADCAST_MAC })).fine();
    }),
    exchange('IDENTIFY: the size in 28 bits', async ({ a, identity }) => {
      const data = (await a.ata(AtaCommand.Identify, { count: 1 })).sectors(1);
      equal(viewOf(data).getUint32(120, true), Math.min(identity.sectors, 0x0fff_ffff), 'the size in words 60-61');
    }),
    exchange('WRITE and READ of 2 sectors with 28 bits', async ({ a }) => {
      (await a.write(52, pattern(97, 2), {}, AtaCommand.Write)).good();
      equal((await a.ata(AtaCommand.Read, { lba: 52, count: 2 })).sectors(2), pattern(97, 2), 'the sectors');
    }),
  ],
};
