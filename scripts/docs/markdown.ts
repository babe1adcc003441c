/** Text for a cell of a Markdown table: on one line, and without characters that would end the cell or start markup. */
export function cell(text: string): string {
  return text
    .split(/(`[^`]*`)/)
    .map((part, index) => (index % 2 === 1 ? part.replaceAll('|', '\\|') : escaped(part)))
    .join('')
    .replace(/\s+/g, ' ')
    .trim();
}

function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replace(/([|*])/g, '\\$1');
}

/** A value as code, fit for a cell of a table; nothing when it is empty. */
export function code(text: string): string {
  return text === '' ? '' : `\`${text.replaceAll('|', '\\|')}\``;
}

/** A Markdown table. The cells are Markdown already. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`.replaceAll('|  |', '| |');
  return [line(header), line(header.map(() => '---')), ...rows.map(line)].join('\n');
}

/** What says that a page, or a part of it, is made by a program. Readers of the page do not see it. */
export const MADE = '<!-- Made by scripts/docs/generate.ts from the sources: run "make generate". -->';
const END = '<!-- End of what is made. -->';

/**
 * A page with the part between the two marks replaced.
 * @throws Error when the page has no such marks
 */
export function withPart(page: string, part: string): string {
  const start = page.indexOf(MADE);
  const end = page.indexOf(END);
  if (start < 0 || end < start) throw new Error(`the page has no part between "${MADE}" and "${END}"`);
  return `${page.slice(0, start + MADE.length)}\n\n${part}\n\n${page.slice(end)}`;
}
