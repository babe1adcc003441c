import { type Range, RangeJoiner } from '../../blocks.ts';

/** thin-provisioning-tools give sizes in sectors. */
const SECTOR = 512;
/** No tag of theirs is longer. */
const MAX_TAG = 64 << 10;
const TAG = /<[^<>]*>/y;

/** Which program wrote the document: `thin_dump --dev-id`, or `thin_delta`. */
export type Document = { readonly device: number } | 'delta';

/**
 * Reads the XML of thin_dump and thin_delta part by part (thin_dump(8), thin_delta(8); formats of version 0.9 and 1.x without shared
 * mappings) into the ranges that are mapped, or differ. A document that is not whole, or not understood, is an error: to take it for one
 * with fewer ranges would lose data.
 */
export class MappingsReader {
  readonly #document: Document;
  readonly #joiner = new RangeJoiner();
  #rest = '';
  /** Bytes of a block of the thin pool. */
  #block = 0;
  /** Blocks that the device has by its own count, and those that were read. */
  #expected = 0;
  #read = 0;
  #isInside = false;
  #isComplete = false;

  constructor(document: Document) {
    this.#document = document;
  }

  /** @throws SyntaxError */
  add(text: string): Range[] {
    const all = this.#rest + text;
    const found: Range[] = [];
    let at = 0;
    for (;;) {
      const start = all.indexOf('<', at);
      if (start < 0) break;
      TAG.lastIndex = start;
      const tag = TAG.exec(all)?.[0];
      if (tag === undefined) break;
      found.push(...this.#tag(tag));
      at = start + tag.length;
    }
    const rest = all.indexOf('<', at);
    this.#rest = rest < 0 ? '' : all.slice(rest);
    if (this.#rest.length > MAX_TAG) throw new SyntaxError(`no tag ends within ${MAX_TAG} characters`);
    return found;
  }

  /** @throws SyntaxError when the document is not whole */
  end(): Range[] {
    if (!this.#isComplete) throw new SyntaxError('the output ends before its end, or lacks what was asked for');
    return this.#joiner.end();
  }

  #tag(tag: string): Range[] {
    const name = /^<\/?(\w+)/.exec(tag)?.[0] ?? tag;
    switch (name) {
      case '<superblock':
        this.#block = number(tag, 'data_block_size') * SECTOR;
        return [];
      case '<device':
        if (this.#document === 'delta' || number(tag, 'dev_id') !== this.#document.device) throw unexpected(tag);
        this.#expected = number(tag, 'mapped_blocks');
        this.#isInside = true;
        return [];
      case '<diff':
        if (this.#document !== 'delta') throw unexpected(tag);
        this.#isInside = true;
        return [];
      case '</device':
        if (this.#read !== this.#expected)
          throw new SyntaxError(`${this.#expected} blocks should be mapped, and ${this.#read} mappings were read`);
        this.#isComplete = true;
        return [];
      case '</diff':
        this.#isComplete = true;
        return [];
      case '<range_mapping':
        return this.#blocks(number(tag, 'origin_begin'), number(tag, 'length'));
      case '<single_mapping':
        return this.#blocks(number(tag, 'origin_block'), 1);
      case '<different':
      case '<left_only':
      case '<right_only':
        return this.#blocks(number(tag, 'begin'), number(tag, 'length'));
      case '<same':
      case '</superblock':
        return [];
      default:
        throw unexpected(tag);
    }
  }

  #blocks(begin: number, length: number): Range[] {
    if (!this.#isInside || this.#isComplete || this.#block === 0) throw new SyntaxError('a range comes where none can be');
    this.#read += length;
    return this.#joiner.add({ offset: begin * this.#block, bytes: length * this.#block });
  }
}

function unexpected(tag: string): SyntaxError {
  return new SyntaxError(`${tag.slice(0, 200)} was not expected`);
}

function number(tag: string, attribute: string): number {
  const text = new RegExp(`\\s${attribute}="(\\d+)"`).exec(tag)?.[1];
  if (text === undefined) throw new SyntaxError(`${tag.slice(0, 200)} has no number ${attribute}`);
  return Number(text);
}
