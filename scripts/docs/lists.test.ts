import { withDeepLists } from './lists.ts';

describe('lists of the site', () => {
  it('have what belongs to an item four columns further in', () => {
    const text = `1. One:

   \`\`\`
   code
     deeper
   - no item
   \`\`\`

   More of one.
   - Inner,
     on two lines
2. Two
   on two lines

After the list.
`;
    expect(withDeepLists(text)).toBe(`1. One:

    \`\`\`
    code
      deeper
    - no item
    \`\`\`

    More of one.

    - Inner,
        on two lines
2. Two
    on two lines

After the list.
`);
  });

  it('get an empty line before them', () => {
    expect(withDeepLists('What to do:\n- one\n- two\n')).toBe('What to do:\n\n- one\n- two\n');
    expect(withDeepLists('1. one\n\n   more\n2. two\n3. three\n')).toBe('1. one\n\n    more\n\n2. two\n3. three\n');
    expect(withDeepLists('1. one\n   - inner\n')).toBe('1. one\n    - inner\n');
  });

  it('leave code outside lists, tables and other text as they are', () => {
    const text = '```yaml\nspec:\n  - name: a\n\n    b: c\n```\n\n| a | b |\n\n- item\ncontinued\n\ntext\n';
    expect(withDeepLists(text)).toBe(text.replace('\ncontinued', '\n    continued'));
  });
});
