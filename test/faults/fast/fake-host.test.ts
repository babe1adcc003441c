import assert from 'node:assert/strict';
import { emitFrame, Flag, type Frame, type FrameSocket, parseFrame } from '../../../aoe/mod.ts';
import { Rights } from '../model/rights.ts';
import { CLEAR } from '../model/weather.ts';
import { FakeHost, Forgotten, IoError } from './fake-host.ts';
import { Switch } from './switch.ts';

const HOST = '02:00:00:00:00:0a';
const DISK = { address: { shelf: 7, slot: 3 }, mac: '02:00:00:00:00:01' };
const DATA = new Uint8Array(4096).fill(7);
const OK = 0x40;
const ERR = 0x41;

/** The target's cable: what was sent on it, and a way to answer. */
class Cable implements FrameSocket {
  readonly interfaceName = 'cable';
  readonly mac = DISK.mac;
  readonly sent: Frame[] = [];
  #handler = (_bytes: Uint8Array): void => {};
  #heard = (): void => {};

  send(bytes: Uint8Array): void {
    const frame = parseFrame(bytes);
    if (frame) this.sent.push(frame);
    this.#heard();
  }
  onFrame(handler: (bytes: Uint8Array) => void): void {
    this.#handler = handler;
  }
  drain(): void {}
  close(): void {}

  async until(count: number): Promise<void> {
    while (this.sent.length < count) await new Promise<void>((resolve) => (this.#heard = resolve));
  }

  answer(index: number, status: number, flags = 0): void {
    const { header, argument } = this.sent[index] ?? assert.fail(`no frame ${index}`);
    const answer = Uint8Array.from(argument);
    answer[3] = status;
    const reply = { ...header, source: header.destination, destination: header.source, flags: Flag.Response | flags };
    this.#handler(emitFrame({ header: reply, argument: answer }));
  }
}

function bench(sectors = 8) {
  const [cable, rights] = [new Cable(), new Rights()];
  const port = new Switch(rights, () => 0.5).connect(HOST, cable);
  return { cable, rights, port, host: new FakeHost('worker-1', port, sectors) };
}

const tagsOf = ({ sent }: Cable): number[] => sent.map(({ header }) => header.tag);

describe('a fake host', () => {
  it('sends what is not answered again, each time under a new tag, and ignores answers to earlier ones', async () => {
    const { cable, host } = bench();
    let done = false;
    const write = host.write(DISK, 80, DATA).then(() => {
      done = true;
    });
    await cable.until(3);
    expect(new Set(tagsOf(cable)).size).toBe(3);
    cable.answer(0, OK);
    await Promise.resolve();
    expect(done).toBe(false);
    cable.answer(cable.sent.length - 1, OK);
    await write;
  });

  it('needs several frames where they are small, and all of them answered', async () => {
    const { cable, host } = bench(2);
    const write = host.write(DISK, 80, DATA);
    expect(cable.sent.map(({ argument }) => argument[4])).toStrictEqual([80, 82, 84, 86]);
    for (const index of [3, 1, 0, 2]) cable.answer(index, OK);
    await write;
  });

  it('takes ATA ERR for an I/O error, and drops answers with the error flag', async () => {
    const { cable, host } = bench();
    const write = host.write(DISK, 80, DATA);
    cable.answer(0, ERR, Flag.Error);
    cable.answer(0, ERR);
    await expect(write).rejects.toThrow(IoError);
  });

  it('sends nothing while it hangs, and what was under way when it goes on', async () => {
    const { cable, host, port } = bench();
    port.down = true;
    const write = host.write(DISK, 80, DATA);
    port.down = false;
    host.hang();
    expect(cable.sent).toHaveLength(0);
    host.goOn();
    // Its old frame, from the queue of the network card, and a repetition.
    expect(tagsOf(cable)).toStrictEqual([1, 2]);
    cable.answer(1, OK);
    await write;
  });

  it('forgets everything in a crash, but not the network', async () => {
    const { cable, host, port } = bench();
    port.weather = { ...CLEAR, late: { share: 1, fromMs: 60_000, toMs: 60_000 } };
    const write = host.write(DISK, 80, DATA);
    host.forget();
    await expect(write).rejects.toThrow(Forgotten);
    expect(cable.sent).toHaveLength(0);
    port.drain();
    expect(tagsOf(cable)).toStrictEqual([1]);
  });

  it('is seen by the switch when a write of its is answered that came without the right', () => {
    const { cable, host, rights } = bench();
    host.strike(DISK, 80, DATA);
    cable.answer(0, ERR);
    expect(rights.violations).toStrictEqual([]);
    cable.answer(0, OK);
    expect(rights.violations).toHaveLength(1);
  });
});
