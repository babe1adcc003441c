import { AtaCommand } from '../../../aoe/wire/ata.ts';
import { BROADCAST_MAC, Flag, viewOf } from '../../../aoe/wire/header.ts';
import { type Check, check, equal, type Group, must } from '../check.ts';
import { pattern } from '../pattern.ts';

const exchange = (name: string, run: Check['run']): Check => check(name, 'iPXE, net/aoe.c', run);
const BROADCAST = { destination: BROADCAST_MAC };

export const ipxe: Group = {
  name: 'iPXE',
  checks: [
    exchange('config query to the broadcast MAC, own shelf and slot', async ({ a, address, mac }) => {
      const { header } = await a.query(BROADCAST);
      equal([header.version, header.flags & Flag.Response], [1, Flag.Response], 'version and response flag');
      equal([header.shelf, header.slot, header.source], [address.shelf, address.slot, mac], 'where it is');
    }),
    exchange('IDENTIFY to the broadcast MAC', async ({ a, identity }) => {
      const data = (await a.ata(AtaCommand.Identify, { count: 1 }, BROADCAST)).sectors(1);
      const word = (index: number): number => viewOf(data).getUint16(index * 2, true);
      must((word(83) & 0x0400) !== 0, 'bit 10 of word 83 is not set');
      equal(Number(viewOf(data).getBigUint64(200, true)), identity.sectors, 'the size in word 100');
      equal(word(60) + word(61) * 0x1_0000, Math.min(identity.sectors, 0x0fff_ffff), 'the size in word 60');
    }),
    exchange('READ and READ EXT of 1 and 2 sectors', async ({ a }) => {
      (await a.write(33, pattern(60, 2))).good();
      for (const command of [AtaCommand.Read, AtaCommand.ReadExt]) {
        const lba = command === AtaCommand.Read ? 33 + 0xe0 * 2 ** 24 : 33;
        for (const count of [1, 2]) {
          const data = (await a.ata(command, { lba, count })).good().ata.data.subarray(0, count * 512);
          equal(data, pattern(60, 2).subarray(0, count * 512), `${count} sectors`);
        }
      }
    }),
    exchange('WRITE EXT of 2 sectors', async ({ a }) => {
      (await a.write(35, pattern(61, 2))).good();
      equal((await a.read(35, 2)).sectors(2), pattern(61, 2), 'the sectors');
    }),
    exchange('the boot sector, as SAN boot reads it', async ({ a }) => {
      (await a.ata(AtaCommand.ReadExt, { count: 1 })).sectors(1);
    }),
  ],
};
