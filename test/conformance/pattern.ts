/** Sectors that differ from one another and from those of another seed. */
export function pattern(seed: number, sectors: number): Uint8Array {
  const data = new Uint8Array(sectors * 512);
  for (let at = 0; at < data.length; at++) data[at] = (seed * 31 + (at >> 9) * 7 + at * 13 + (at >> 8)) & 0xff;
  return data;
}
