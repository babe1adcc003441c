import { viewOf } from '../../../aoe/wire/header.ts';
import { check, equal, type Group, must } from '../check.ts';
import type { Session } from '../session.ts';

const MAX_28 = 0x0fff_ffff;

async function words({ a }: Session): Promise<(word: number) => number> {
  const view = viewOf((await a.identify()).sectors(1));
  return (word) => view.getUint16(word * 2, true);
}

async function text(session: Session, word: number, count: number): Promise<string> {
  const get = await words(session);
  return Array.from({ length: count }, (_, index) => String.fromCharCode(get(word + index) >> 8, get(word + index) & 0xff)).join('');
}

function printable(value: string, what: string): void {
  must(/^[ -~]*$/.test(value), `${what} is not printable: ${JSON.stringify(value)}`);
}

export const identify: Group = {
  name: 'IDENTIFY',
  checks: [
    check('gives 512 bytes', 'ATA8-ACS 7.16', async ({ a }) => {
      equal((await a.identify()).sectors(1).length, 512, 'the length');
      equal((await a.identify()).bytes.length, 548, 'the length of the frame');
    }),
    check('is an ATA disk', 'ATA8-ACS 7.16.7, word 0', async (session) => {
      equal((await words(session))(0) & 0x8000, 0, 'bit 15 of word 0');
    }),
    check('has a serial number of printable characters', 'ATA8-ACS 7.16.7, words 10-19; the disk is known by it', async (session) => {
      const serial = await text(session, 10, 10);
      printable(serial, 'the serial number');
      must(serial.trim() !== '', 'the serial number is empty');
    }),
    check('has firmware revision and model of printable characters', 'ATA8-ACS 7.16.7, words 23-46', async (session) => {
      printable(await text(session, 23, 4), 'the firmware revision');
      const model = await text(session, 27, 20);
      printable(model, 'the model');
      must(model.trim() !== '', 'the model is empty');
    }),
    check('knows LBA', 'ATA8-ACS 7.16.7, word 49 bit 9', async (session) => {
      equal((await words(session))(49) & 0x0200, 0x0200, 'bit 9 of word 49');
    }),
    check(
      'shows 48-bit addresses as supported and enabled',
      'ATA8-ACS 7.16.7, words 83 and 86 bit 10; Linux, iPXE look there',
      async (session) => {
        const get = await words(session);
        equal(get(83) & 0xc400, 0x4400, 'bits 15, 14 and 10 of word 83');
        equal(get(86) & 0x0400, 0x0400, 'bit 10 of word 86');
      },
    ),
    check('shows the size in 28 bits, as far as it goes', 'ATA8-ACS 7.16.7, words 60-61', async (session) => {
      const get = await words(session);
      equal(get(61) * 0x1_0000 + get(60), Math.min(session.identity.sectors, MAX_28), 'the number of sectors in words 60-61');
    }),
    check('shows the size in 48 bits', 'ATA8-ACS 7.16.7, words 100-103', async (session) => {
      const get = await words(session);
      const sectors = get(103) * 2 ** 48 + get(102) * 2 ** 32 + get(101) * 2 ** 16 + get(100);
      must(sectors > 0, 'there are no sectors in words 100-103');
      (await session.a.read(sectors - 1)).sectors(1);
      (await session.a.read(sectors)).ataError();
    }),
    check('says the same each time, and to each host', 'ATA8-ACS 7.16', async ({ a, b }) => {
      const first = (await a.identify()).sectors(1);
      equal((await a.identify()).sectors(1), first, 'the data, asked again');
      equal((await b.identify()).sectors(1), first, 'the data, asked by another');
    }),
    check('answers IDENTIFY with a count of 0, too', 'ATA8-ACS 7.16.3: the count is not applicable', async ({ a }) => {
      (await a.ata(0xec)).sectors(1);
    }),
  ],
};
