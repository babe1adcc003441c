import { ConfigCommand, configRequest, emitConfig, MAX_CONFIG_STRING } from '../../../aoe/wire/config.ts';
import { Command, ErrorCode } from '../../../aoe/wire/header.ts';
import { type Check, check, equal, type Group, must } from '../check.ts';

const SOURCE = 'AoEr11 3.2';
const rule = (name: string, run: Check['run'], source = SOURCE): Check => check(name, source, run);
const { Read, TestExact, TestPrefix, SetIfEmpty, Force } = ConfigCommand;
const request = (command: number, string: string) => emitConfig(configRequest(command, Buffer.from(string)));

/** A config argument whose length field says something else than how long the string is. */
function lying(command: number, length: number, bytes: number): Uint8Array {
  const argument = new Uint8Array(8 + bytes).fill(0x61, 8);
  argument.set([0, 0, 0, 0, 0, 0x10 | command, length >> 8, length & 0xff]);
  return argument;
}

export const config: Group = {
  name: 'Config string',
  checks: [
    rule('reads an empty string', async ({ a }) => equal((await a.query()).fine().string, '', 'the string')),
    rule('says that it speaks version 1', async ({ a }) => equal((await a.query()).config.version, 1, 'the AoE version')),
    rule('echoes the command', async ({ a }) => {
      equal((await a.query()).config.command, Read, 'the command');
      equal((await a.config(Force, 'x')).config.command, Force, 'the command');
    }),
    rule(
      'has room for two frames or more',
      async ({ a }) => {
        const { bufferCount } = (await a.query()).config;
        must(bufferCount >= 2, `the buffer count is ${bufferCount}`);
      },
      `${SOURCE}; below 2 the Linux driver never transmits`,
    ),
    rule('offers sectors that the cable carries', async ({ a, mtu }) => {
      const { sectors } = (await a.query()).config;
      const most = Math.floor((mtu - 36 + 14) / 512);
      must(sectors >= 1 && sectors <= most, `the sector count is ${sectors}; at MTU ${mtu} there is room for ${most}`);
    }),
    rule('sets an empty string, and answers with it', async ({ a }) => {
      equal((await a.config(SetIfEmpty, 'first')).fine().string, 'first', 'the string of the answer');
      equal((await a.query()).string, 'first', 'the string');
    }),
    rule('refuses to set a string that is there, with error 4', async ({ a }) => {
      await a.config(SetIfEmpty, 'first');
      (await a.config(SetIfEmpty, 'second')).refused(ErrorCode.ConfigStringPresent);
      equal((await a.query()).string, 'first', 'the string');
    }),
    rule('shows the present string with error 4', async ({ a }) => {
      await a.config(SetIfEmpty, 'first');
      equal((await a.config(SetIfEmpty, 'second')).refused(ErrorCode.ConfigStringPresent).string, 'first', 'the string of the answer');
    }),
    rule('refuses to set even the same string again', async ({ a }) => {
      await a.config(SetIfEmpty, 'same');
      (await a.config(SetIfEmpty, 'same')).refused(ErrorCode.ConfigStringPresent);
    }),
    rule('answers an exact test that fits', async ({ a }) => {
      await a.config(Force, 'abc');
      equal((await a.config(TestExact, 'abc')).fine().string, 'abc', 'the string');
    }),
    rule('does not answer an exact test that does not fit', async ({ a }) => {
      await a.config(Force, 'abc');
      for (const string of ['ab', 'abcd', 'abd', '', 'ABC']) await a.silence(Command.Config, request(TestExact, string));
    }),
    rule('answers the exact test of an empty string', async ({ a }) => {
      equal((await a.config(TestExact, '')).fine().string, '', 'the string');
      await a.silence(Command.Config, request(TestExact, 'a'));
    }),
    rule('answers a prefix test that fits', async ({ a }) => {
      await a.config(Force, 'abc');
      for (const string of ['abc', 'ab', 'a', '']) equal((await a.config(TestPrefix, string)).fine().string, 'abc', 'the string');
    }),
    rule('does not answer a prefix test that does not fit', async ({ a }) => {
      await a.config(Force, 'abc');
      for (const string of ['abcd', 'bc', 'b']) await a.silence(Command.Config, request(TestPrefix, string));
    }),
    rule('forces a string over another', async ({ a }) => {
      await a.config(SetIfEmpty, 'first');
      equal((await a.config(Force, 'second')).fine().string, 'second', 'the string of the answer');
      equal((await a.query()).string, 'second', 'the string');
    }),
    rule('forces a string away', async ({ a }) => {
      await a.config(Force, 'first');
      equal((await a.config(Force, '')).fine().string, '', 'the string of the answer');
      equal((await a.config(SetIfEmpty, 'next')).fine().string, 'next', 'the string set then');
    }),
    rule('keeps a string of 1024 bytes', async ({ a }) => {
      const long = `${'x'.repeat(MAX_CONFIG_STRING - 1)}y`;
      equal((await a.config(Force, long)).fine().string, long, 'the string of the answer');
      equal((await a.query()).string, long, 'the string');
    }),
    rule('keeps bytes of any value', async ({ a }) => {
      const bytes = Uint8Array.from({ length: 256 }, (_, index) => 255 - index);
      await a.config(Force, bytes);
      equal((await a.query()).config.string, bytes, 'the string');
      await a.config(Force, Uint8Array.of(0));
      equal((await a.query()).config.string, Uint8Array.of(0), 'the string');
    }),
    rule('refuses a string of more than 1024 bytes', async ({ a }) => {
      (await a.ask(Command.Config, lying(Force, 1025, 1025))).refused(ErrorCode.BadArgument);
      equal((await a.query()).string, '', 'the string');
    }),
    rule('refuses a string that the frame does not hold', async ({ a }) => {
      for (const [length, bytes] of [
        [100, 28],
        [1024, 100],
        [0xffff, 200],
      ] as const) {
        (await a.ask(Command.Config, lying(Force, length, bytes))).refused(ErrorCode.BadArgument);
      }
      equal((await a.query()).string, '', 'the string');
    }),
    rule(
      'reads, whatever length and string the request has',
      async ({ a }) => {
        await a.config(Force, 'kept');
        equal((await a.config(Read, 'junk')).fine().string, 'kept', 'the string');
        equal((await a.ask(Command.Config, lying(Read, 1024, 28))).fine().string, 'kept', 'the string');
      },
      `${SOURCE}; aoeping asks so`,
    ),
    rule('refuses commands that it does not know, with error 2', async ({ a }) => {
      for (const command of [6, 15]) (await a.config(command, 'x')).refused(ErrorCode.BadArgument);
      equal((await a.query()).string, '', 'the string');
    }),
    rule('has one string for all hosts', async ({ a, b }) => {
      await a.config(SetIfEmpty, "a's");
      equal((await b.query()).string, "a's", 'the string');
      (await b.config(SetIfEmpty, "b's")).refused(ErrorCode.ConfigStringPresent);
    }),
    rule(
      'tests and replaces',
      async ({ a }) => {
        await a.config(Force, 'old');
        equal((await a.replace('old', 'new')).fine().string, 'new', 'the string of the answer');
        equal((await a.query()).string, 'new', 'the string');
        equal((await a.replace('new', '')).fine().string, '', 'the string, replaced by none');
      },
      "Coraid's later targets, command 5",
    ),
    rule(
      'does not replace another string: error 4',
      async ({ a }) => {
        await a.config(Force, 'old');
        equal((await a.replace('other', 'new')).refused(ErrorCode.ConfigStringPresent).string, 'old', 'the string of the answer');
        equal((await a.query()).string, 'old', 'the string');
      },
      "Coraid's later targets, command 5",
    ),
    rule(
      'does not mind a config string in reads and writes',
      async ({ a, b }) => {
        await a.config(Force, 'a lock');
        (await b.read(0)).sectors(1);
      },
      'AoEr11 3.2: the string gates nothing',
    ),
  ],
};
