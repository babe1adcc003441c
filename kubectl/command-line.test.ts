import { UsageError } from '../run/config.ts';
import { COMMANDS, type CommandLine, helpText, parseCommandLine } from './command-line.ts';

describe('the command line', () => {
  it('has a command, its words, and flags before and behind', () => {
    const line = parseCommandLine(['--context', 'c', 'get', 'pvc:a/b', '-o', 'yaml', '-n=storage']) as CommandLine;
    expect(line).toMatchObject({
      command: 'get',
      words: ['pvc:a/b'],
      output: 'yaml',
      context: 'c',
      namespace: 'storage',
      kubeconfig: undefined,
    });
    expect(parseCommandLine(['status', '--exit-code'])).toMatchObject({ namespace: 'aoe-csi', output: 'text' });
    expect((parseCommandLine(['bundle', '--redact', '--file=x']) as CommandLine).text('file')).toBe('x');
  });

  it.each([[[]], [['help']], [['--help']], [['status', '-h']]])('%j asks for help', (args) => expect(parseCommandLine(args)).toBe('help'));

  it.each([
    [['frob'], 'there is no command "frob"'],
    [['get'], 'usage: kubectl aoe get VOLUME'],
    [['status', 'x'], 'usage: kubectl aoe status'],
    [['locks', '--redact'], "kubectl aoe locks: Unknown option '--redact'"],
    [['locks', '-o', 'wide'], '-o wide: write json or yaml'],
    [['trace', 'v', '--seconds'], 'kubectl aoe trace: '],
  ])('refuses %j', (args, message) => {
    expect(() => parseCommandLine(args)).toThrow(UsageError);
    expect(() => parseCommandLine(args)).toThrow(message);
  });

  it('names all commands in its help', () => {
    for (const name of Object.keys(COMMANDS)) expect(helpText()).toMatch(new RegExp(`^  ${name}\\b`, 'm'));
  });
});
