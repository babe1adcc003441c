import { AtaCommand } from '../../../aoe/wire/ata.ts';
import { Command, ErrorCode, MIN_FRAME } from '../../../aoe/wire/header.ts';
import type { Answer } from '../answer.ts';
import { check, equal, type Group, must } from '../check.ts';
import { pattern } from '../pattern.ts';
import type { Session } from '../session.ts';

/** A read that must not succeed: refused in either way, or not answered at all. */
async function refusedRead({
  a,
  session,
  lba = 0,
  count,
}: {
  a: Session['a'];
  session: Session;
  lba?: number;
  count: number;
}): Promise<void> {
  const tag = a.send(Command.Ata, a.registers(AtaCommand.ReadExt, { lba, count }));
  await session.settle();
  const answer: Answer | undefined = session.heard.find(({ header }) => header.tag === tag);
  if (answer) must(answer.failed, `${answer.describe()} to a read of ${count} sectors at ${lba}`);
}

/** Writes that must not be done, and what must be in the sectors afterwards. */
async function unwritten(
  session: Session,
  lba: number,
  count: number,
  argument: Uint8Array,
  wanted: (answer: Answer) => void,
): Promise<void> {
  const { a, identity } = session;
  await session.keep(lba, count);
  const last = Math.min(lba + count, identity.sectors);
  const before = await Promise.all(
    Array.from({ length: Math.max(0, last - lba) }, async (_, index) => (await a.read(lba + index)).sectors(1)),
  );
  wanted(await a.ask(Command.Ata, argument));
  for (const [index, data] of before.entries()) equal((await a.read(lba + index)).sectors(1), data, `sector ${lba + index}, not written`);
}

export const bounds: Group = {
  name: 'ATA, counts and ranges',
  checks: [
    check('reads and writes the last sector', 'ATA8-ACS 7.16', async ({ a, identity }) => {
      const last = identity.sectors - 1;
      (await a.write(last, pattern(20, 1))).good();
      equal((await a.read(last)).sectors(1), pattern(20, 1), 'the last sector');
    }),
    check(
      'fails reads beyond the end with ATA ERR, not with an AoE error',
      'ATA8-ACS 7.26; the Linux driver drops AoE errors',
      async (session) => {
        const { a, identity } = session;
        for (const lba of [identity.sectors, identity.sectors + 1000, 2 ** 47, 2 ** 48 - 1])
          (await a.read(lba)).ataError({ of: `a read at ${lba}` });
        if (identity.sectors < 2 ** 28)
          (await a.ata(AtaCommand.Read, { lba: identity.sectors, count: 1 })).ataError({ of: 'a 28-bit read' });
      },
    ),
    check('fails writes beyond the end with ATA ERR', 'ATA8-ACS 7.61', async (session) => {
      const { a, identity } = session;
      for (const lba of [identity.sectors, 2 ** 48 - 1]) {
        (await a.ata(AtaCommand.WriteExt, { lba, count: 1, data: pattern(21, 1) })).ataError({ of: `a write at ${lba}` });
      }
      if (identity.sectors < 2 ** 28) {
        (await a.ata(AtaCommand.Write, { lba: identity.sectors, count: 1, data: pattern(21, 1) })).ataError({ of: 'a 28-bit write' });
      }
    }),
    check('fails what only begins before the end, whole', 'ATA8-ACS 7.26, 7.61', async (session) => {
      const { a, identity, perFrame } = session;
      if (perFrame < 2) return;
      const lba = identity.sectors - 1;
      (await a.read(lba, 2)).ataError();
      const argument = a.registers(AtaCommand.WriteExt, { lba, count: 2, data: pattern(22, 2) });
      await unwritten(session, lba, 2, argument, (answer) => answer.ataError());
    }),
    check('carries no data in the answer to a read that failed', 'no answer is larger than it must be', async ({ a, identity }) => {
      const { length } = (await a.read(identity.sectors)).bytes;
      must(length <= MIN_FRAME, `the answer has ${length} bytes`);
    }),
    check('does not wrap a sector number around', 'ATA8-ACS 4.1.2', async ({ a, perFrame }) => {
      (await a.read(2 ** 48 - 1, perFrame)).ataError();
    }),
    check('refuses a read of no sectors', 'ATA8-ACS 7.26: 0 means 65536, more than a frame carries', async (session) => {
      await refusedRead({ a: session.a, session, count: 0 });
    }),
    check('refuses a read of more than a frame carries', 'AoEr11 3.1, 3.2; WinAoE looks for the limit so', async (session) => {
      const most = Math.floor((session.mtu - 36) / 512);
      for (const count of [most + 1, 255]) await refusedRead({ a: session.a, session, count });
    }),
    check('sends no frame longer than the cable takes', 'IEEE 802.3', async (session) => {
      await refusedRead({ a: session.a, session, count: 255 });
      for (const { bytes } of session.heard)
        must(bytes.length <= session.mtu + 14, `a frame of ${bytes.length} bytes at MTU ${session.mtu}`);
    }),
    check('refuses a write with less data than its count, and writes nothing', 'AoEr11 2.4, 3.1', async (session) => {
      const { a } = session;
      for (const [count, bytes] of [
        [2, 1023],
        [2, 512],
        [1, 511],
        [255, 512],
      ] as const) {
        const argument = a.registers(AtaCommand.WriteExt, { lba: 16, count, data: pattern(23, 2).subarray(0, bytes) });
        await unwritten(session, 16, Math.min(count, 4), argument, (answer) =>
          must(answer.failed, `${answer.describe()} to a write of ${count} sectors with ${bytes} bytes`),
        );
      }
    }),
    check('calls such a write a bad argument', 'AoEr11 2.4', async (session) => {
      const argument = session.a.registers(AtaCommand.WriteExt, { lba: 16, count: 2, data: pattern(23, 1) });
      await unwritten(session, 16, 2, argument, (answer) => answer.refused(ErrorCode.BadArgument));
    }),
    check('refuses a write of no sectors', 'ATA8-ACS 7.61', async (session) => {
      const { a } = session;
      const argument = a.registers(AtaCommand.WriteExt, { lba: 18, count: 0, data: pattern(24, 1) });
      await unwritten(session, 18, 1, argument, (answer) => must(answer.failed, `${answer.describe()} to a write of no sectors`));
    }),
  ],
};
