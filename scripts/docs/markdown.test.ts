import { cell, code, MADE, table, withPart } from './markdown.ts';

describe('Markdown that is made', () => {
  it('has no cell that ends early or becomes markup', () => {
    expect(cell('a | b, `c|d`,\n *.json, <name> & so on')).toBe('a \\| b, `c\\|d`, \\*.json, &lt;name> &amp; so on');
  });

  it('is code', () => expect([code('a | b'), code('')]).toStrictEqual(['`a \\| b`', '']));

  it('is a table', () => {
    expect(table(['A', 'B'], [['1', '']])).toBe('| A | B |\n| --- | --- |\n| 1 | |');
  });

  it('replaces a part of a page, again and again', () => {
    const page = `# Page\n\n${MADE}\nold\n<!-- End of what is made. -->\nrest\n`;
    const once = withPart(page, 'new');
    expect(once).toBe(`# Page\n\n${MADE}\n\nnew\n\n<!-- End of what is made. -->\nrest\n`);
    expect(withPart(once, 'new')).toBe(once);
    expect(() => withPart('# Page', 'new')).toThrow(/no part between/);
  });
});
