import { BROADCAST_MAC, Command, Flag, MIN_FRAME } from '../../../aoe/wire/header.ts';
import type { Answer } from '../answer.ts';
import { check, equal, type Group, must } from '../check.ts';
import { NotTried } from '../run.ts';
import type { Bench } from '../session.ts';

/** What the target sends unasked when it starts. */
async function announced(bench: Bench): Promise<Answer> {
  if (!bench.restart) throw new NotTried('it needs a command that restarts the target');
  bench.heard.length = 0;
  bench.sent = new Uint8Array();
  await bench.restart();
  return await bench.wait(({ header }) => header.destination === BROADCAST_MAC, 10_000);
}

export const announcement: Group = {
  name: 'Announcement',
  checks: [
    check('announces itself when it starts', 'AoEr11 3.2: a broadcast config response', async (bench) => {
      const { header } = await announced(bench);
      equal([header.command, header.flags & Flag.Response], [Command.Config, Flag.Response], 'command and response flag');
      equal([header.shelf, header.slot], [bench.address.shelf, bench.address.slot], 'shelf and slot');
    }),
    check('announces itself as an answer to tag 0, of version 1', 'AoEr11 2.2, 3.2', async (bench) => {
      const { header, config } = await announced(bench);
      equal(header.tag, 0, 'the tag');
      equal([header.version, config.version], [1, 1], 'the versions in header and argument');
    }),
    check('announces what it would answer to a query', 'AoEr11 3.2', async (bench) => {
      const announcement = await announced(bench);
      const answer = await bench.a.query();
      equal(announcement.argument, answer.argument, 'the argument');
      must(announcement.bytes.length >= MIN_FRAME, `the announcement has ${announcement.bytes.length} bytes`);
    }),
  ],
};
