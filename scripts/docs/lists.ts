/** A line that begins an item of a list: its indentation, and its marker with the space behind it. */
const ITEM = /^( *)((?:[-*+]|\d+[.)]) +)\S/;
const FENCE = /^ *(```+|~~~+)/;

/** Python-Markdown wants what belongs to an item four columns further in, forges want it under the text of the item. */
const STEP = 4;

/**
 * The same Markdown with what is inside items of lists indented as Python-Markdown wants it, and with an empty line before each list.
 * Code keeps its own indentation.
 * @param text Markdown as forges read it
 */
export function withDeepLists(text: string): string {
  /** Where the text of each open item begins, in columns, the outermost first. */
  const open: number[] = [];
  let fence: string | undefined;
  let blank = true;
  let wasInList = false;
  /** Whether there was an empty line since the last item began. */
  let hasParagraphs = false;
  return text
    .split('\n')
    .map((line) => {
      if (line.trim() === '') {
        blank = true;
        hasParagraphs = true;
        return line;
      }
      const indent = line.length - line.trimStart().length;
      const marker = ITEM.exec(line);
      // Inside a block of code nothing begins or ends. A line right below a paragraph continues it, wherever it begins.
      if (fence === undefined && (blank || marker || FENCE.test(line) || indent > 0)) {
        while (open.length > 0 && indent < (open.at(-1) ?? 0)) open.pop();
      }
      const moved = `${' '.repeat(open.length * STEP + Math.max(0, indent - (open.at(-1) ?? 0)))}${line.trimStart()}`;
      const delimiter = FENCE.exec(line)?.[1];
      if (fence !== undefined) {
        if (delimiter?.startsWith(fence)) fence = undefined;
      } else if (delimiter) fence = delimiter;
      else if (marker) open.push(indent + (marker[2]?.length ?? 0));
      // Without an empty line these would be read as more of the paragraph above them.
      const item = marker !== null && fence === undefined;
      const begins = item && !blank && (hasParagraphs || (open.length === 1 && !wasInList));
      if (item) hasParagraphs = false;
      wasInList = open.length > 0;
      blank = false;
      return begins ? `\n${moved}` : moved;
    })
    .join('\n');
}
