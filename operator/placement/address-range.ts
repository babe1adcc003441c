import { type Address, formatAddress, MAX_SHELF, MAX_SLOT, REFUSED_SHELF } from '../../api/address.ts';

const SLOTS = MAX_SLOT + 1;

/** The addresses that the operator may give: every slot of a range of shelves, without the shelf that Linux refuses. */
export class AddressRange {
  readonly first: number;
  readonly last: number;

  /** @throws RangeError when the text is not a range of shelves such as `1-255` or `7` */
  constructor(text: string) {
    const [, first, last] = /^([0-9]{1,5})(?:-([0-9]{1,5}))?$/.exec(text.trim()) ?? [];
    this.first = Number(first);
    this.last = Number(last ?? first);
    if (
      first === undefined ||
      this.first > this.last ||
      this.last > MAX_SHELF ||
      (this.first === this.last && this.first === REFUSED_SHELF)
    ) {
      throw new RangeError(`"${text}" is not a range of shelves: write A-B with 0 <= A <= B <= ${MAX_SHELF}, such as 1-255`);
    }
  }

  contains(address: Address): boolean {
    return address.shelf >= this.first && address.shelf <= this.last && address.shelf !== REFUSED_SHELF && address.slot <= MAX_SLOT;
  }

  /**
   * The first free address after `previous`, going round: an address that was given back rests for as long as possible, since
   * hosts may still have its old disk in mind.
   */
  next(previous: Address | undefined, isTaken: (address: Address) => boolean): Address | undefined {
    const size = (this.last - this.first + 1) * SLOTS;
    const start = previous && this.contains(previous) ? (previous.shelf - this.first) * SLOTS + previous.slot + 1 : 0;
    for (let i = 0; i < size; i++) {
      const index = (start + i) % size;
      const address = { shelf: this.first + Math.floor(index / SLOTS), slot: index % SLOTS };
      if (this.contains(address) && !isTaken(address)) return address;
    }
    return undefined;
  }

  toString(): string {
    return `${this.first}-${this.last}`;
  }
}

/** The address that a volume has or asks for: its own, or that of the external target it stands for. */
export function addressOf(spec: { address?: Address | undefined; external?: Address | undefined }): Address | undefined {
  return spec.address ?? spec.external;
}

/** A key for sets of addresses. */
export const addressKey = formatAddress;
