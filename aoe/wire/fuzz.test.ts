import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
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
    if (emitted) assert.equal(text(emitted), text(bytes));
  };
  const [ata, config, mask, reserve] = [parseAta(bytes), parseConfig(bytes), parseMask(bytes), parseReserve(bytes)];
  same(ata && emitAta(ata));
  same(config && emitConfig(config));
  same(mask && emitMask(mask));
  same(reserve && emitReserve(reserve));
  if (config) assert.ok((replacementOf(config)?.length ?? 0) <= MAX_CONFIG_STRING);
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
        assert.equal(text(emitFrame(frame)), text(bytes));
        throughAll(frame.argument);
      }),
      { numRuns: 5000 },
    );
  });

  test('a length or count is believed only as far as the frame goes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 1100 }), fc.nat(0xffff), (bytes, length) => {
        const config = Uint8Array.of(0, 0, 0, 0, 0, 0x13, length >> 8, length & 0xff, ...bytes);
        assert.equal(parseConfig(config)?.string.length, length <= bytes.length && length <= MAX_CONFIG_STRING ? length : undefined);
        const count = length & 0xff;
        assert.equal(parseMask(Uint8Array.of(0, 1, 0, count, ...bytes))?.directives.length, count * 8 <= bytes.length ? count : undefined);
        assert.equal(parseReserve(Uint8Array.of(1, count, ...bytes))?.macs.length, count * 6 <= bytes.length ? count : undefined);
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
          assert.deepEqual([shelf, slot], [7, 3]);
          assert.ok(string.length <= MAX_CONFIG_STRING);
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
    assert.equal((await ask((answer) => answer)).length, 1);
    const wrong = [changed(14, 0x10), changed(13, 0xa3), changed(17, 8), changed(18, 4), changed(19, 0), changed(20, 0)];
    for (const maim of wrong) assert.deepEqual(await ask(maim), []);
    for (let length = 0; length < 32; length++) assert.deepEqual(await ask((answer) => answer.subarray(0, length)), []);
  });
});

describe('what the codec is told to emit', () => {
  test('strings that do not fit are refused with a RangeError, and nothing else is thrown', () => {
    fc.assert(
      fc.property(fc.nat(3000), fc.nat(3000), (one, two) => {
        const fits = one <= MAX_CONFIG_STRING && two <= MAX_CONFIG_STRING;
        const emit = (): Uint8Array => emitConfig(testAndReplaceRequest(new Uint8Array(one), new Uint8Array(two)));
        if (fits) assert.equal(emit().length, 8 + one + 2 + two);
        else assert.throws(emit, RangeError);
        if (one > MAX_CONFIG_STRING) assert.throws(() => emitConfig(configRequest(3, new Uint8Array(one))), RangeError);
      }),
    );
  });

  test('lists of more than 255 addresses and addresses that are none are refused with a RangeError', () => {
    const macs = Array.from({ length: 256 }, () => '02:00:5e:00:53:0a');
    const rest = new Uint8Array();
    assert.throws(() => emitReserve({ command: 1, macs, rest }), RangeError);
    const directives = macs.map((mac) => ({ reserved: 0, command: 1, mac }));
    assert.throws(() => emitMask({ reserved: 0, command: 1, error: 0, directives, rest }), RangeError);
    fc.assert(
      fc.property(fc.string({ maxLength: 20 }), (mac) => {
        if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(mac)) assert.throws(() => emitReserve({ command: 1, macs: [mac], rest }), RangeError);
      }),
    );
  });
});
