import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { decode } from '../../test/conformance/decode.ts';

/** Frames with their meaning; the Rust codec is tested with the same (target/tests/codec). */
const VECTORS: { name: string; frame: string; decoded: object | null }[] = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../test/conformance/vectors.json'), 'utf8'),
);

for (const { name, frame, decoded } of VECTORS) {
  test(`the codec reads as it should: ${name}`, () => {
    const bytes = Buffer.from(frame.replaceAll(' ', ''), 'hex');
    const found = decode(bytes);
    expect(found && { header: found.header, argument: found.argument }).toStrictEqual(decoded);
    if (found) expect(bytes.toString('hex').startsWith(found.emitted), 'what is emitted is what was read').toBe(true);
  });
}
