import { parseQuantity } from '../../api/quantity.ts';

/** A sum of sizes for people, with at most one digit behind the point: `1.5Gi`. What is not a size counts as 0. */
export function sizeText(...quantities: readonly (string | undefined)[]): string {
  let value = quantities.reduce((sum, quantity) => sum + bytesOf(quantity), 0);
  const suffixes = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi'];
  let step = 0;
  while (value >= 1024 && step < suffixes.length - 1) {
    value /= 1024;
    step++;
  }
  return `${Number(value.toFixed(1))}${suffixes[step]}`;
}

function bytesOf(quantity: string | undefined): number {
  try {
    return quantity === undefined ? 0 : parseQuantity(quantity);
  } catch {
    return 0;
  }
}
