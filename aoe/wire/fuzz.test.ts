import fc from 'fast-check';
import { hostileFrame } from '../../test/conformance/frames.ts';
import { Initiator } from '../initiator.ts';
import type { FrameSocket } from '../net/socket.ts';
import { emitAta, parseAta } from './ata.ts';
import { configRequest, emitConfig, MAX_CONFIG_STRING, parseConfig, replacementOf, testAndReplaceRequest } from './config.ts';
import { emitFrame, parseFrame } from './header.ts';
import { parseIdentity } from './identify.ts';
import { emitMask, parseMask } from './mask.ts';
import { emitReserve, parseReserve } from './reserve.ts';

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** Parses an argument in every way; what parses must emit to the same bytes. */
function throughAll(bytes: Uint8Array): void {
  const same = (emitted: Uint8Array | undefined): void => {
    if (emitted) expect(text(emitted)).toBe(text(bytes));
  };
  const [ata, config, mask, reserve] = [parseAta(bytes), parseConfig(bytes), parseMask(bytes), parseReserve(bytes)];
  same(ata && emitAta(ata));
  same(config && emitConfig(config));
  same(mask && emitMask(mask));
  same(reserve && emitReserve(reserve));
  if (config) expect(replacementOf(config)?.length ?? 0).toBeLessThanOrEqual(MAX_CONFIG_STRING);
  parseIdentity(bytes);
}

/** An initiator on a socket that hears what the test says. */
function listening() {
  let hear: (frame: Uint8Array) => void = () => {};
  let sent: Uint8Array = new Uint8Array();
  const socket: FrameSocket = {
    interfaceName: 'fuzz0',
    mac: '02:00:5e:00:53:0a',
    send: (frame) => {
      sent = frame;
    },
    onFrame: (handler) => {
      hear = handler;
    },
    drain: () => {},
    close: () => {},
  };
  return { initiator: new Initiator([socket]), hear: (frame: Uint8Array) => hear(frame), sent: () => sent };
}

describe('off a hostile wire', () => {
  test('no frame makes the codec throw, and what parses emits to the same bytes', () => {
    fc.assert(
      fc.property(hostileFrame, (bytes) => {
        const frame = parseFrame(bytes);
        if (!frame) return;
        expect(text(emitFrame(frame))).toBe(text(bytes));
        throughAll(frame.argument);
      }),
      { numRuns: 5000 },
    );
  });

  test('a length or count is believed only as far as the frame goes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 1100 }), fc.nat(0xffff), (bytes, length) => {
        const config = Uint8Array.of(0, 0, 0, 0, 0, 0x13, length >> 8, length & 0xff, ...bytes);
        expect(parseConfig(config)?.string.length).toBe(length <= bytes.length && length <= MAX_CONFIG_STRING ? length : undefined);
        const count = length & 0xff;
        expect(parseMask(Uint8Array.of(0, 1, 0, count, ...bytes))?.directives.length).toBe(count * 8 <= bytes.length ? count : undefined);
        expect(parseReserve(Uint8Array.of(1, count, ...bytes))?.macs.length).toBe(count * 6 <= bytes.length ? count : undefined);
      }),
    );
  });

  test('the initiator takes no answer for its own that is not, and lives on', async () => {
    const { initiator, hear, sent } = listening();
    await fc.assert(
      fc.asyncProperty(fc.array(hostileFrame, { maxLength: 20 }), fc.boolean(), async (frames, tagged) => {
        const replies = initiator.query({ shelf: 7, slot: 3 }, { timeoutMs: 1, attempts: 1, settleMs: 0 });
        // The tag of the request, as one who listens would know it.
        for (const frame of frames) {
          if (tagged && frame.length >= 24) frame.set(sent().subarray(20, 24), 20);
          hear(frame);
        }
        for (const { shelf, slot, string } of await replies) {
          expect([shelf, slot]).toStrictEqual([7, 3]);
          expect(string.length).toBeLessThanOrEqual(MAX_CONFIG_STRING);
        }
      }),
      { numRuns: 300 },
    );
  });

  test('an answer with one thing wrong is none: a request, another EtherType, address, command or tag, a cut', async () => {
    const { initiator, hear, sent } = listening();
    const ask = (maim: (answer: Uint8Array) => Uint8Array): Promise<unknown[]> => {
      const replies = initiator.query({ shelf: 7, slot: 3 }, { timeoutMs: 1, attempts: 1, settleMs: 0 });
      const tag = new DataView(sent().buffer, sent().byteOffset).getUint32(20);
      const header = { destination: '02:00:5e:00:53:0a', source: '02:00:5e:00:53:0b', version: 1, flags: 8, error: 0, shelf: 7, slot: 3 };
      hear(maim(emitFrame({ header: { ...header, command: 1, tag }, argument: emitConfig(configRequest(0)) })));
      return replies;
    };
    const changed = (at: number, to: number) => (answer: Uint8Array) => answer.with(at, to);
    expect(await ask((answer) => answer)).toHaveLength(1);
    const wrong = [changed(14, 0x10), changed(13, 0xa3), changed(17, 8), changed(18, 4), changed(19, 0), changed(20, 0)];
    for (const maim of wrong) expect(await ask(maim)).toStrictEqual([]);
    for (let length = 0; length < 32; length++) expect(await ask((answer) => answer.subarray(0, length))).toStrictEqual([]);
  });
});

describe('what the codec is told to emit', () => {
  test('strings that do not fit are refused with a RangeError, and nothing else is thrown', () => {
    fc.assert(
      fc.property(fc.nat(3000), fc.nat(3000), (one, two) => {
        const fits = one <= MAX_CONFIG_STRING && two <= MAX_CONFIG_STRING;
        const emit = (): Uint8Array => emitConfig(testAndReplaceRequest(new Uint8Array(one), new Uint8Array(two)));
        if (fits) expect(emit().length).toBe(8 + one + 2 + two);
        else expect(emit).toThrow(RangeError);
        if (one > MAX_CONFIG_STRING) expect(() => emitConfig(configRequest(3, new Uint8Array(one)))).toThrow(RangeError);
      }),
    );
  });

  test('lists of more than 255 addresses and addresses that are none are refused with a RangeError', () => {
    const macs = Array.from({ length: 256 }, () => '02:00:5e:00:53:0a');
    const rest = new Uint8Array();
    expect(() => emitReserve({ command: 1, macs, rest })).toThrow(RangeError);
    const directives = macs.map((mac) => ({ reserved: 0, command: 1, mac }));
    expect(() => emitMask({ reserved: 0, command: 1, error: 0, directives, rest })).toThrow(RangeError);
    fc.assert(
      fc.property(fc.string({ maxLength: 20 }), (mac) => {
        if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(mac)) expect(() => emitReserve({ command: 1, macs: [mac], rest })).toThrow(RangeError);
      }),
    );
  });
});
