/**
 * For `parse` of a flag: a whole number of seconds; 0 for never.
 * @throws RangeError
 */
export function wholeSeconds(text: string): number {
  const value = /^\d{1,4}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isNaN(value)) throw new RangeError(`"${text}" is not a whole number of seconds from 0 to 9999`);
  return value;
}
