import { helpText } from '../../run/config.ts';
import { commandLinePage, flagsTable, targetHelp } from './command-line.ts';

describe('the page of the command lines', () => {
  it('has the flags of a program in a table', () => {
    const help = helpText('program', { http: { default: ':9811', help: 'address, HOST:PORT' }, node: { default: '', help: 'a | b' } });
    expect(flagsTable(help)).toBe(
      '| Flag | Default | Meaning |\n| --- | --- | --- |\n| `--http` | `:9811` | address, HOST:PORT |\n| `--node` | | a \\| b |',
    );
    expect(() => flagsTable('no flags here')).toThrow(/there is no flag/);
  });

  it('finds the help of the target in its source, and says when there is none', () => {
    expect(targetHelp('pub const HELP: &str = "\\\nsays \\"this\\"\n  --state DIR\n";\n')).toBe('says "this"\n  --state DIR');
    expect(() => targetHelp('fn main() {}')).toThrow(/no HELP/);
  });

  it('has every program', async () => {
    const page = await commandLinePage();
    for (const flag of ['--shelves', '--kubelet-path', '--target-socket', '--directory', '--socket PATH', '-o, --output'])
      expect(page).toContain(flag);
  });
});
