// A host that sends reads and takes no notice of the answers: frames.ts INTERFACE MAC SHELF SLOT COUNT SECONDS. They are spread over the seconds;
// each asks for another sector, and has another tag.
import { AtaCommand, Command, emitAta, emitFrame, padFrame, RawSocket } from '../../aoe/mod.ts';

const [name = '', destination = '', ...numbers] = process.argv.slice(2);
const [shelf = 0, slot = 0, count = 0, seconds = 1] = numbers.map(Number);
/** Sectors of a volume of 1 MiB, so that all of them are there. */
const SECTORS = 2048;
/** No read goes on where another ended: those count as one operation for each 4 KiB only. */
const STRIDE = 17;

const socket = RawSocket.open(name);
const { mac: source } = socket;
const began = performance.now();
for (let sent = 0; sent < count; ) {
  const due = Math.min(count, Math.ceil(((performance.now() - began) / 1000 / seconds) * count));
  for (; sent < due; sent++) {
    const ata = {
      flags: 0,
      feature: 0,
      sectors: 1,
      command: AtaCommand.Read,
      lba: (sent * STRIDE) % SECTORS,
      reserved: 0,
      data: new Uint8Array(),
    };
    const header = { destination, source, version: 1, flags: 0, error: 0, shelf, slot, command: Command.Ata, tag: sent } as const;
    socket.send(padFrame(emitFrame({ header, argument: emitAta(ata) })));
  }
  await new Promise((resolve) => setTimeout(resolve, 5));
}
socket.close();
