import { AtaCommand } from '../../../aoe/wire/ata.ts';
import { ConfigCommand, configRequest, emitConfig } from '../../../aoe/wire/config.ts';
import { Command, ErrorCode } from '../../../aoe/wire/header.ts';
import { DirectiveCommand, MaskCommand, MaskError } from '../../../aoe/wire/mask.ts';
import { emitReserve, ReserveCommand } from '../../../aoe/wire/reserve.ts';
import { type Check, check, equal, type Group, must } from '../check.ts';
import type { Host } from '../host.ts';
import type { Session } from '../session.ts';

const { None, Add, Delete } = DirectiveCommand;
const rule = (name: string, run: Check['run'], source = 'AoEr11 3.3'): Check => check(name, source, run);
const READ = { command: MaskCommand.Read };

/** That the target leaves every command of a host unanswered. */
async function unheard(host: Host): Promise<void> {
  await host.unanswered(
    host.send(Command.Config, emitConfig(configRequest(ConfigCommand.Read))),
    host.send(Command.Ata, host.registers(AtaCommand.Identify, { count: 1 })),
    host.send(Command.Ata, host.registers(AtaCommand.ReadExt, { count: 1 })),
    host.send(Command.Reserve, emitReserve({ command: ReserveCommand.Read, macs: [], rest: new Uint8Array() })),
    host.send(0x42, new Uint8Array(8)),
  );
}

const many = (count: number, from = 0): [number, string][] =>
  Array.from({ length: count }, (_, index) => {
    const hex = (from + index).toString(16).padStart(4, '0');
    return [Add, `02:00:5e:00:${hex.slice(0, 2)}:${hex.slice(2)}`];
  });

/** Adds addresses until the target says that its list is full, or to 300 of them. */
async function fill({ a, mtu }: Session): Promise<{ error: number; length: number }> {
  const step = Math.min(64, Math.floor((mtu - 14) / 8));
  await a.mask([[Add, a.mac]]);
  for (let from = 0x100; from < 0x100 + 300; from += step) {
    const { error, directives } = (await a.mask(many(step, from))).fine().mask;
    if (error !== 0) return { error, length: directives.length };
  }
  return { error: 0, length: (await a.mask([], READ)).masked.length };
}

export const mask: Group = {
  name: 'MAC mask list',
  checks: [
    rule('reads an empty list', async ({ a }) => equal((await a.mask([], READ)).fine().masked, [], 'the list')),
    rule('adds an address, and answers with the list', async ({ a }) => {
      equal((await a.mask([[Add, a.mac]])).fine().masked, [a.mac], 'the list of the answer');
      equal((await a.mask([], READ)).masked, [a.mac], 'the list');
    }),
    rule('does not hear who is not on the list', async ({ a, b }) => {
      await a.mask([[Add, a.mac]]);
      await unheard(b);
      (await a.identify()).sectors(1);
    }),
    rule('hears the second on the list', async ({ a, b, c }) => {
      await a.mask([
        [Add, a.mac],
        [Add, b.mac],
      ]);
      (await b.identify()).sectors(1);
      await unheard(c);
    }),
    rule('hears the third on the list', async ({ a, b, c }) => {
      const all: [number, string][] = [a, b, c].map(({ mac }) => [Add, mac]);
      equal((await a.mask(all)).fine().masked.toSorted(), [a.mac, b.mac, c.mac].toSorted(), 'the list');
      for (const host of [a, b, c]) (await host.identify()).sectors(1);
    }),
    rule('keeps the others when one is deleted', async ({ a, b, c }) => {
      await a.mask([a, b, c].map(({ mac }) => [Add, mac]));
      equal((await a.mask([[Delete, b.mac]])).fine().masked.toSorted(), [a.mac, c.mac].toSorted(), 'the list');
      await unheard(b);
      (await c.identify()).sectors(1);
    }),
    rule('hears all when the list is empty again', async ({ a, b }) => {
      await a.mask([[Add, a.mac]]);
      equal((await a.mask([[Delete, a.mac]])).fine().masked, [], 'the list');
      (await b.identify()).sectors(1);
    }),
    rule('has an address once only', async ({ a }) => {
      await a.mask([[Add, a.mac]]);
      equal((await a.mask([[Add, a.mac]])).fine().masked, [a.mac], 'the list');
    }),
    rule('deletes what is not there without an error', async ({ a, b }) => {
      await a.mask([[Add, a.mac]]);
      const answer = (await a.mask([[Delete, b.mac]])).fine();
      equal([answer.mask.error, ...answer.masked], [0, a.mac], 'error and list');
    }),
    rule('does the directives of a request one after the other', async ({ a, b }) => {
      const list = (
        await a.mask([
          [Add, a.mac],
          [Add, b.mac],
          [Delete, b.mac],
          [None, b.mac],
        ])
      ).fine().masked;
      equal(list, [a.mac], 'the list');
    }),
    rule('answers a directive that it does not know with MError 2', async ({ a, b }) => {
      await a.mask([[Add, a.mac]]);
      equal((await a.mask([[9, b.mac]])).mask.error, MaskError.BadDirective, 'MError');
      equal((await a.mask([], READ)).masked, [a.mac], 'the list');
    }),
    rule('says with MError 3 when the list is full', async (session) => equal((await fill(session)).error, MaskError.Full, 'MError')),
    rule('has a list no longer than its count can say', async (session) => {
      const { length } = await fill(session);
      must(length >= 1 && length <= 255, `the list has ${length} addresses`);
    }),
    rule('answers mask commands that it does not know with error 2', async ({ a }) => {
      (await a.mask([], { command: 7 })).refused(ErrorCode.BadArgument);
    }),
    rule(
      'answers a count beyond the frame with error 2',
      async ({ a }) => {
        const argument = Uint8Array.of(0, MaskCommand.Edit, 0, 200, 0, Add, 2, 0, 0x5e, 0, 0x53, 0x0c);
        (await a.ask(Command.Mask, argument)).refused(ErrorCode.BadArgument);
        equal((await a.mask([], READ)).masked, [], 'the list');
      },
      'AoEr11 2.4, 3.3',
    ),
  ],
};
