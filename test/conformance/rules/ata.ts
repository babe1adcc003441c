import { AtaCommand, AtaFlag } from '../../../aoe/wire/ata.ts';
import { Command, MIN_FRAME, viewOf } from '../../../aoe/wire/header.ts';
import { check, equal, type Group, must } from '../check.ts';
import { pattern } from '../pattern.ts';

const READY = 0x40;
const ABORTED = 0x04;

export const ata: Group = {
  name: 'ATA',
  checks: [
    check('reads with 48 bits what was written with 48 bits', 'AoEr11 3.1; ATA8-ACS 7.26, 7.61', async ({ a }) => {
      const data = pattern(1, 1);
      (await a.write(3, data)).good();
      equal((await a.read(3)).sectors(1), data, 'sector 3');
    }),
    check('reads with 28 bits what was written with 28 bits', 'AoEr11 3.1; ATA8-ACS 7.24, 7.59', async ({ a }) => {
      const data = pattern(2, 1);
      (await a.write(4, data, {}, AtaCommand.Write)).good();
      equal((await a.ata(AtaCommand.Read, { lba: 4, count: 1 })).sectors(1), data, 'sector 4');
    }),
    check('means the same sectors with 28 and 48 bits', 'AoEr11 3.1', async ({ a }) => {
      const [one, two] = [pattern(3, 1), pattern(4, 1)];
      (await a.write(5, one, {}, AtaCommand.Write)).good();
      equal((await a.read(5)).sectors(1), one, 'sector 5');
      (await a.write(5, two)).good();
      equal((await a.ata(AtaCommand.Read, { lba: 5, count: 1 })).sectors(1), two, 'sector 5');
    }),
    check('takes LBA0 as the lowest byte, and all of them', 'AoEr11 3.1', async ({ a, identity }) => {
      const places = [1, 2 ** 8, 2 ** 16, 2 ** 24, 2 ** 28 + 1, 2 ** 32 + 1].filter((lba) => lba < identity.sectors);
      const data = (lba: number): Uint8Array => pattern(places.indexOf(lba) + 100, 1);
      for (const lba of places) (await a.write(lba, data(lba))).good();
      for (const lba of places) {
        equal((await a.read(lba)).sectors(1), data(lba), `sector ${lba}`);
        if (lba >= 2 ** 28) continue;
        equal((await a.ata(AtaCommand.Read, { lba, count: 1 })).sectors(1), data(lba), `sector ${lba} with 28 bits`);
      }
    }),
    check('leaves the device bits of LBA3 alone in 28-bit commands', 'AoEr11 3.1; ATA8-ACS 6.2; Linux sends 0xE0', async ({ a }) => {
      const data = pattern(6, 1);
      (await a.write(6, data)).good();
      for (const device of [0xa0, 0xe0]) {
        equal(
          (await a.ata(AtaCommand.Read, { lba: 6 + device * 2 ** 24, count: 1 })).sectors(1),
          data,
          `sector 6, device 0x${device.toString(16)}`,
        );
      }
    }),
    check('carries as many sectors in a frame as it says', 'AoEr11 3.1, 3.2', async ({ a, perFrame }) => {
      const data = pattern(7, perFrame);
      (await a.write(8, data)).good();
      equal((await a.read(8, perFrame)).sectors(perFrame), data, `${perFrame} sectors`);
    }),
    check('carries fewer sectors, too', 'AoEr11 3.1', async ({ a, perFrame }) => {
      for (let count = 1; count <= perFrame; count++) {
        (await a.write(9, pattern(count, count))).good();
        equal((await a.read(9, count)).sectors(count), pattern(count, count), `${count} sectors`);
      }
    }),
    check(
      'answers a read with nothing after the data',
      'Plan 9 takes the length of the frame for that of the data',
      async ({ a, perFrame }) => {
        for (const count of [1, perFrame])
          equal((await a.read(0, count)).bytes.length, 36 + count * 512, `the length of a read of ${count} sectors`);
      },
    ),
    check('answers a write without data', 'AoEr11 3.1', async ({ a, perFrame }) => {
      const { length } = (await a.write(8, pattern(8, perFrame))).good().bytes;
      must(length <= MIN_FRAME, `the answer has ${length} bytes`);
    }),
    check('shows DRDY and no error in the status', 'ATA8-ACS 6.1; Linux fails on status & 0xA9', async ({ a }) => {
      for (const answer of [await a.read(0), await a.write(10, pattern(9, 1)), await a.identify()]) {
        equal(answer.good().ata.command & READY, READY, 'DRDY');
        equal(answer.ata.feature, 0, 'the error register');
      }
    }),
    check('takes data that follows a read', 'the Linux driver probes with it', async ({ a }) => {
      (await a.ata(AtaCommand.ReadExt, { count: 1, data: new Uint8Array(512) })).sectors(1);
      (await a.ata(AtaCommand.ReadExt, { count: 1, data: pattern(10, 1) })).sectors(1);
    }),
    check('writes only as many sectors as it was told', 'AoEr11 3.1', async ({ a }) => {
      (await a.write(12, pattern(11, 2))).good();
      (await a.write(12, pattern(12, 2), { count: 1 })).good();
      equal((await a.read(12)).sectors(1), pattern(12, 1), 'the sector that was written');
      equal((await a.read(13)).sectors(1), pattern(11, 2).subarray(512), 'the sector after it');
    }),
    check('does asynchronous writes, too', 'AoEr11 3.1, AFlags A', async ({ a }) => {
      const data = pattern(13, 1);
      (await a.write(14, data, { flags: AtaFlag.Lba48 | AtaFlag.Write | AtaFlag.Async })).good();
      equal((await a.read(14)).sectors(1), data, 'sector 14');
    }),
    check('flushes its cache', 'ATA8-ACS 7.10', async ({ a }) => {
      (await a.ata(AtaCommand.FlushCache)).good();
    }),
    check('flushes with the 48-bit command, where IDENTIFY shows it', 'ATA8-ACS 7.11, word 83 bit 13', async ({ a }) => {
      const word83 = viewOf((await a.identify()).sectors(1)).getUint16(166, true);
      const answer = await a.ata(AtaCommand.FlushCacheExt);
      if ((word83 & 0x2000) !== 0) answer.good();
      else if (answer.failed) answer.ataError({ bits: ABORTED });
    }),
    check('aborts commands that it does not know, as a disk does', 'AoEr11 3.1; ATA8-ACS 6.1; aoeping wants ABRT', async ({ a }) => {
      for (const command of [0xb0, 0x06, 0xff])
        (await a.ata(command, { count: 1 })).ataError({ bits: ABORTED, of: `command 0x${command.toString(16)}` });
    }),
    check('answers a frame that came twice twice, with the same tag', 'AoEr11 1.1', async (session) => {
      const { a } = session;
      const tag = session.freshTag();
      for (let time = 0; time < 2; time++) a.send(Command.Ata, a.registers(AtaCommand.ReadExt, { count: 1 }), { tag });
      await session.settle();
      equal(session.heard.filter(({ header }) => header.tag === tag).length, 2, 'the number of answers');
    }),
    check('answers as many requests at once as its buffer count', 'AoEr11 3.2', async (session) => {
      const { a, bufferCount, perFrame } = session;
      const tags = Array.from({ length: Math.min(bufferCount, 256) }, () =>
        a.send(Command.Ata, a.registers(AtaCommand.ReadExt, { lba: 0, count: perFrame })),
      );
      for (const tag of tags) (await a.answer(tag)).sectors(perFrame);
      must(tags.length > 0, 'the buffer count is 0');
    }),
  ],
};
