import { AtaCommand } from '../../../aoe/wire/ata.ts';
import { BROADCAST_MAC, Command, viewOf } from '../../../aoe/wire/header.ts';
import { type Check, check, equal, type Group, must } from '../check.ts';
import { pattern } from '../pattern.ts';

const exchange = (name: string, run: Check['run']): Check => check(name, 'WinAoE, WinVBlock', run);
const ALL = { destination: BROADCAST_MAC, shelf: 0xffff, slot: 0xff };

export const windows: Group = {
  name: 'WinAoE, WinVBlock',
  checks: [
    exchange('search: broadcast IDENTIFY to 65535.255, with no query before', async ({ a, address, mac, identity }) => {
      const answer = await a.ata(AtaCommand.Identify, { count: 1 }, ALL);
      equal([answer.header.shelf, answer.header.slot, answer.header.source], [address.shelf, address.slot, mac], 'where it is');
      equal(Number(viewOf(answer.sectors(1)).getBigUint64(200, true)), identity.sectors, 'the capacity at bytes 200 to 207');
    }),
    exchange('search repeated: the same answer', async ({ a }) => {
      const first = (await a.ata(AtaCommand.Identify, { count: 1 }, ALL)).sectors(1);
      equal((await a.ata(AtaCommand.Identify, { count: 1 }, ALL)).sectors(1), first, 'the answer');
    }),
    exchange('larger and larger READ EXT, until the answer is short', async (session) => {
      const { a, mtu } = session;
      const most = Math.floor((mtu - 36 + 14) / 512);
      let largest = 0;
      for (let count = 1; count <= most + 2; count++) {
        const tag = a.send(Command.Ata, a.registers(AtaCommand.ReadExt, { count }));
        await session.settle();
        const answer = session.heard.find(({ header }) => header.tag === tag);
        // It ignores errors and status, and looks at the length only.
        if (!answer || answer.bytes.length < 36 + count * 512) break;
        largest = count;
      }
      must(largest >= 1 && largest <= most, `reads of ${largest} sectors have their full length; the cable carries ${most}`);
      equal(largest, session.perFrame, 'the largest read that has its full length');
    }),
    exchange('WRITE EXT and READ EXT of a sector', async ({ a }) => {
      (await a.write(36, pattern(70, 1))).good();
      equal((await a.read(36)).sectors(1), pattern(70, 1), 'the sector');
    }),
  ],
};
