import { AtaCommand } from '../../../aoe/wire/ata.ts';
import { BROADCAST_MAC, Command, viewOf } from '../../../aoe/wire/header.ts';
import { type Check, check, equal, type Group, must } from '../check.ts';
import { pattern } from '../pattern.ts';

const SOURCE = 'Linux 6.1, drivers/block/aoe';
const exchange = (name: string, run: Check['run'], source = SOURCE): Check => check(name, source, run);
/** Tags of the driver have bit 31 clear. */
let tag = 0x0101_0000;
const own = (): { tag: number } => ({ tag: tag++ });

export const linux: Group = {
  name: 'Linux',
  checks: [
    exchange('discovery: broadcast config query, tag without bit 31', async ({ a, mac, address }) => {
      const answer = (await a.query({ destination: BROADCAST_MAC, shelf: 0xffff, slot: 0xff, ...own(), pad: 60 })).fine();
      equal(answer.header.source, mac, 'the path');
      must(answer.header.shelf !== 0xfff && answer.header.shelf !== 0xffff, `the driver refuses shelf ${answer.header.shelf}`);
      equal([answer.header.shelf, answer.header.slot], [address.shelf, address.slot], 'shelf and slot');
      must(answer.config.bufferCount >= 2, `a buffer count of ${answer.config.bufferCount} never transmits`);
      must(answer.config.sectors >= 1, 'a sector count of 0 carries nothing');
    }),
    exchange('IDENTIFY: count 1, lba3 0xA0, 36 bytes unpadded', async ({ a, identity }) => {
      const data = (await a.identify({ ...own(), pad: 0 })).sectors(1);
      const word = (index: number): number => viewOf(data).getUint16(index * 2, true);
      must((word(83) & (1 << 10)) !== 0 && (word(86) & (1 << 10)) !== 0, 'words 83 and 86 do not show 48-bit addresses');
      equal(Number(viewOf(data).getBigUint64(200, true)), identity.sectors, 'the size in words 100-103');
    }),
    exchange('READ EXT unpadded, as long as the frame allows', async ({ a, perFrame }) => {
      const count = Math.min(17, perFrame);
      (await a.ata(AtaCommand.ReadExt, { count }, { ...own(), pad: 0 })).sectors(count);
    }),
    exchange('28-bit READ with lba3 0xE0', async ({ a }) => {
      (await a.write(32, pattern(50, 1))).good();
      const answer = await a.ata(AtaCommand.Read, { lba: 32 + 0xe0 * 2 ** 24, count: 1 }, { ...own(), pad: 0 });
      equal(answer.sectors(1), pattern(50, 1), 'the sector');
    }),
    exchange('probe: READ with a payload of zeros', async ({ a, perFrame }) => {
      const data = new Uint8Array(perFrame * 512);
      (await a.ata(AtaCommand.ReadExt, { count: perFrame, data }, own())).sectors(perFrame);
    }),
    exchange('WRITE EXT and READ EXT of a whole frame', async ({ a, perFrame }) => {
      (await a.write(32, pattern(51, perFrame))).good();
      equal((await a.read(32, perFrame, own())).sectors(perFrame), pattern(51, perFrame), 'the data');
    }),
    exchange('retransmission with a new tag, overlapped by newer writes', async (session) => {
      const { a } = session;
      await session.keep(40, 1);
      for (let round = 0; round < 20; round++) {
        const write = (seed: number): number =>
          a.send(Command.Ata, a.registers(AtaCommand.WriteExt, { lba: 40, count: 1, data: pattern(seed, 1) }), own());
        const tags = [write(round), write(round), write(round + 100)];
        for (const each of tags) (await a.answer(each)).good();
        equal((await a.read(40)).sectors(1), pattern(round + 100, 1), 'the sector, written last with the newer data');
      }
    }),
    exchange('reads and writes under way together, each with its own tag', async (session) => {
      const { a } = session;
      const count = Math.min(64, session.bufferCount);
      await session.keep(64, count);
      const tags = Array.from({ length: count }, (_, index) =>
        a.send(Command.Ata, a.registers(AtaCommand.WriteExt, { lba: 64 + index, count: 1, data: pattern(index, 1) }), own()),
      );
      for (const each of tags) (await a.answer(each)).good();
      const reads = Array.from({ length: count }, (_, index) =>
        a.send(Command.Ata, a.registers(AtaCommand.ReadExt, { lba: 64 + index, count: 1 }), own()),
      );
      for (const [index, each] of reads.entries()) equal((await a.answer(each)).sectors(1), pattern(index, 1), `sector ${64 + index}`);
    }),
    exchange('a failure is ATA ERR: status & 0xA9, never an AoE error', async ({ a, identity }) => {
      const answer = (await a.read(identity.sectors, 1, own())).ataError();
      must((answer.ata.command & 0xa9) !== 0, `the status is 0x${answer.ata.command.toString(16)}`);
    }),
    exchange('revalidate: config query to the shelf and slot, then IDENTIFY', async ({ a, address }) => {
      (await a.query({ destination: BROADCAST_MAC, ...address, ...own() })).fine();
      (await a.identify(own())).sectors(1);
    }),
  ],
};
