import { section, table } from './table.ts';

describe('table', () => {
  it('sets columns under headings, a dash for an empty cell, no blanks at the end', () => {
    expect(
      table(
        ['NAME', 'N', 'NOTE'],
        [
          ['a', '1', ''],
          ['long-name', '22', 'text'],
        ],
      ),
    ).toStrictEqual(['NAME        N    NOTE', 'a           1    -', 'long-name   22   text']);
  });

  it('is nothing without rows, and so is a section', () => {
    expect(section('TITLE', table(['NAME'], []))).toStrictEqual([]);
    expect(section('TITLE', ['a'])).toStrictEqual(['', 'TITLE', '  a']);
  });
});
