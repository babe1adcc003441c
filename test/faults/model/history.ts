/**
 * The rules that every history of an Exclusive volume must keep. The volume is a log: record N is its block N. A host that
 * gets the volume begins an epoch: it looks for the log's end, and goes on from there. It notes each record that was answered.
 */

/** An answered write, as the host noted it. */
export interface Answered {
  epoch: number;
  position: number;
}

/** What is on the disk at the end, by position; undefined where no whole record is. */
export type Disk = readonly (number | undefined)[];

export interface Violation {
  rule: 'lost' | 'late' | 'twice' | 'hole';
  position: number;
  detail: string;
}

/** Of each rule, as many as say what happened; there may be thousands that say the same. */
const MOST = 10;

/**
 * Compares what was answered with what the disk has.
 * - lost: a record was answered, and another or none is there.
 * - late: a record of an epoch lies behind the first of a later one: its host wrote after it had lost the volume.
 * - twice: two epochs had one position answered: two hosts had the volume at one time.
 * - hole: a position before the last record has none.
 */
export function check(answered: readonly Answered[], disk: Disk): Violation[] {
  const violations: Violation[] = [];
  const note = (rule: Violation['rule'], position: number, detail: string): void => {
    if (violations.filter((each) => each.rule === rule).length < MOST) violations.push({ rule, position, detail });
  };
  const by = new Map<number, number>();
  for (const { epoch, position } of answered) {
    const other = by.get(position);
    if (other !== undefined && other !== epoch) note('twice', position, `answered to epoch ${other} and to epoch ${epoch}`);
    by.set(position, Math.max(epoch, other ?? epoch));
  }
  for (const { epoch, position } of answered) {
    const found = disk[position];
    if (found !== epoch)
      note('lost', position, `answered to epoch ${epoch}; there is ${found === undefined ? 'none' : `one of epoch ${found}`}`);
  }
  let newest = 0;
  disk.forEach((epoch, position) => {
    if (epoch === undefined) note('hole', position, 'no record, though there are some behind it');
    else if (epoch < newest) note('late', position, `of epoch ${epoch}, behind a record of epoch ${newest}`);
    else newest = epoch;
  });
  return violations;
}
