import { ConfigCommand, configRequest, emitConfig } from '../../../aoe/wire/config.ts';
import { BROADCAST_MAC, Command, ErrorCode, MIN_FRAME } from '../../../aoe/wire/header.ts';
import { type Check, check, equal, type Group, must } from '../check.ts';

const SOURCE = 'aoetools 36';
const exchange = (name: string, run: Check['run']): Check => check(name, SOURCE, run);
/** aoecfg has one buffer for all requests and sends it whole. */
const AOECFG = { pad: 1056, destination: BROADCAST_MAC };
const ABORTED = 0x04;

export const aoetools: Group = {
  name: 'aoetools',
  checks: [
    exchange('aoecfg: read, 1056 bytes, tag bit 31', async ({ a }) => {
      const answer = (await a.query(AOECFG)).fine();
      must(answer.header.tag >= 0x8000_0000, 'bit 31 of the tag is lost');
      must(answer.bytes.length >= MIN_FRAME, `an answer of ${answer.bytes.length} bytes is passed over`);
    }),
    exchange('aoecfg -c set', async ({ a }) => {
      equal((await a.config(ConfigCommand.SetIfEmpty, 'tools', AOECFG)).fine().string, 'tools', 'the string');
    }),
    exchange('aoecfg -c set where a string is: error 4 with the string', async ({ a }) => {
      await a.config(ConfigCommand.Force, 'present', AOECFG);
      const answer = await a.config(ConfigCommand.SetIfEmpty, 'tools', AOECFG);
      equal(answer.refused(ErrorCode.ConfigStringPresent).string, 'present', 'the string');
    }),
    exchange('aoecfg -c fset', async ({ a }) => {
      await a.config(ConfigCommand.Force, 'first', AOECFG);
      equal((await a.config(ConfigCommand.Force, 'second', AOECFG)).fine().string, 'second', 'the string');
    }),
    exchange('aoecfg -c test, -c ptest', async ({ a }) => {
      await a.config(ConfigCommand.Force, 'abc', AOECFG);
      equal((await a.config(ConfigCommand.TestExact, 'abc', AOECFG)).fine().string, 'abc', 'the string');
      equal((await a.config(ConfigCommand.TestPrefix, 'ab', AOECFG)).fine().string, 'abc', 'the string');
      await a.silence(Command.Config, emitConfig(configRequest(ConfigCommand.TestExact, Buffer.from('ab'))), AOECFG);
    }),
    exchange('aoeping: config read with a length of 1024 and junk', async ({ a }) => {
      await a.config(ConfigCommand.Force, 'kept');
      const junk = new Uint8Array(36).fill(0xa5);
      junk.set([0xff, 0xff, 0xff, 0xff, 0xff, 0x10, 4, 0]);
      equal((await a.ask(Command.Config, junk, { destination: BROADCAST_MAC })).fine().string, 'kept', 'the string');
    }),
    exchange('aoeping -I: IDENTIFY after it', async ({ a }) => {
      (await a.ata(0xec, { count: 1 })).sectors(1);
    }),
    exchange('aoeping -S: SMART, which a disk without it aborts', async ({ a }) => {
      const smart = { feature: 0xd0, count: 1, lba: 0xc24f00 };
      const answer = await a.ata(0xb0, smart);
      if (answer.failed) answer.ataError({ bits: ABORTED, of: 'SMART' });
      else answer.sectors(1);
    }),
    exchange('aoe-sancheck: IDENTIFY padded to the MTU', async ({ a, mtu }) => {
      for (const pad of [1514, mtu + 14]) if (pad <= mtu + 14) (await a.ata(0xec, { count: 1 }, { pad })).sectors(1);
    }),
    exchange('aoe-sancheck: broadcast config query', async ({ a }) => {
      (await a.query({ destination: BROADCAST_MAC, shelf: 0xffff, slot: 0xff })).fine();
    }),
  ],
};
