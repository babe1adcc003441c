import { AtaCommand } from '../../../aoe/wire/ata.ts';
import { ConfigCommand, configRequest, emitConfig } from '../../../aoe/wire/config.ts';
import { BROADCAST_MAC, Command } from '../../../aoe/wire/header.ts';
import { check, equal, type Group } from '../check.ts';
import type { Session } from '../session.ts';

const QUERY = emitConfig(configRequest(ConfigCommand.Read));
const ANY_SHELF = 0xffff;
const ANY_SLOT = 0xff;

const broadcasts = ({ shelf, slot }: Session['address']) => [
  { shelf: ANY_SHELF, slot },
  { shelf, slot: ANY_SLOT },
  { shelf: ANY_SHELF, slot: ANY_SLOT },
];

export const addressing: Group = {
  name: 'Addressing',
  checks: [
    check('answers to its shelf and slot', 'AoEr11 2.5, 2.6', async ({ a, address }) => {
      const { shelf, slot } = (await a.query()).header;
      equal([shelf, slot], [address.shelf, address.slot], 'shelf and slot of the answer');
    }),
    check('answers to shelf 65535, slot 255 and both', 'AoEr11 2.5, 2.6', async ({ a, address }) => {
      for (const each of broadcasts(address)) (await a.query(each)).fine();
    }),
    check('answers to broadcast shelf and slot with its own', 'AoEr11 2.5, 2.6', async ({ a, address }) => {
      for (const each of broadcasts(address)) {
        const { shelf, slot } = (await a.query(each)).header;
        equal([shelf, slot], [address.shelf, address.slot], 'shelf and slot of the answer');
      }
    }),
    check('answers IDENTIFY to broadcast shelf and slot', 'AoEr11 2.5, 2.6', async ({ a, address }) => {
      for (const each of broadcasts(address)) (await a.identify(each)).sectors(1);
    }),
    check('answers a frame to the broadcast MAC address', 'AoEr11 2.1', async (session) => {
      const { a, address, mac } = session;
      for (const each of [address, ...broadcasts(address)]) {
        const { source, destination } = (await a.query({ destination: BROADCAST_MAC, ...each })).header;
        equal([source, destination], [mac, a.mac], 'source and destination of the answer');
      }
    }),
    check('ignores other shelves and slots', 'AoEr11 2.5, 2.6', async ({ a, address: { shelf, slot } }) => {
      const tags = [
        { shelf: shelf ^ 1, slot },
        { shelf, slot: slot ^ 1 },
        { shelf: shelf ^ 0x100, slot },
        { shelf: shelf ^ 1, slot: ANY_SLOT },
        { shelf: ANY_SHELF, slot: slot ^ 1 },
      ].flatMap((other) => [
        a.send(Command.Config, QUERY, { destination: BROADCAST_MAC, ...other }),
        a.send(Command.Ata, a.registers(AtaCommand.Identify, { count: 1 }), other),
      ]);
      await a.unanswered(...tags);
    }),
    check("ignores frames to another host's MAC address", 'IEEE 802.3', async ({ a }) => {
      await a.silence(Command.Config, QUERY, { destination: '02:00:5e:00:53:77' });
    }),
    check('answers each host', 'AoEr11 1.1', async ({ a, b, c }) => {
      for (const host of [a, b, c]) (await host.identify()).sectors(1);
    }),
  ],
};
