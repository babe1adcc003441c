import { BROADCAST_MAC, Command, Flag, MIN_FRAME } from '../../../aoe/wire/header.ts';
import type { Answer } from '../answer.ts';
import { check, equal, type Group, must } from '../check.ts';
import { NotTried } from '../run.ts';
import type { Session } from '../session.ts';

/** What the target sends unasked when it starts. */
async function announced(session: Session): Promise<Answer> {
  if (!session.restart) throw new NotTried('it needs a command that restarts the target');
  session.heard.length = 0;
  session.sent = new Uint8Array();
  await session.restart();
  return await session.wait(({ header }) => header.destination === BROADCAST_MAC, 10_000);
}

export const announcement: Group = {
  name: 'Announcement',
  checks: [
    check('announces itself when it starts', 'AoEr11 3.2: a broadcast config response', async (session) => {
      const { header } = await announced(session);
      equal([header.command, header.flags & Flag.Response], [Command.Config, Flag.Response], 'command and response flag');
      equal([header.shelf, header.slot], [session.address.shelf, session.address.slot], 'shelf and slot');
    }),
    check('announces itself as an answer to tag 0, of version 1', 'AoEr11 2.2, 3.2', async (session) => {
      const { header, config } = await announced(session);
      equal(header.tag, 0, 'the tag');
      equal([header.version, config.version], [1, 1], 'the versions in header and argument');
    }),
    check('announces what it would answer to a query', 'AoEr11 3.2', async (session) => {
      const announcement = await announced(session);
      const answer = await session.a.query();
      equal(announcement.argument, answer.argument, 'the argument');
      must(announcement.bytes.length >= MIN_FRAME, `the announcement has ${announcement.bytes.length} bytes`);
    }),
  ],
};
