import fc from 'fast-check';
import { helpText, oneOf, parseFlags, seconds, UsageError } from './config.ts';

const port = (text: string): number => {
  if (!/^:[0-9]+$/.test(text)) throw new RangeError(`"${text}" is not a port`);
  return Number(text.slice(1));
};
const FLAGS = {
  http: { default: ':9808', help: 'address', parse: port },
  'kubelet-path': { default: '', help: 'directory' },
} as const;

const read: [string, string[], { http: number; 'kubelet-path': string }, string[]][] = [
  ['nothing: the defaults', [], { http: 9808, 'kubelet-path': '' }, []],
  ['a flag with =', ['--http=:1'], { http: 1, 'kubelet-path': '' }, []],
  ['a flag with a space', ['--http', ':1'], { http: 1, 'kubelet-path': '' }, []],
  ['an empty value', ['--kubelet-path='], { http: 9808, 'kubelet-path': '' }, []],
  ['a value with =', ['--kubelet-path=a=b'], { http: 9808, 'kubelet-path': 'a=b' }, []],
  ['a value that looks like a flag, after =', ['--kubelet-path=--x'], { http: 9808, 'kubelet-path': '--x' }, []],
  ['words between flags', ['controller', '--http=:1', 'more'], { http: 1, 'kubelet-path': '' }, ['controller', 'more']],
  ['words after --', ['--', '--http=:1'], { http: 9808, 'kubelet-path': '' }, ['--http=:1']],
];
for (const [what, args, config, words] of read) {
  test(`parseFlags() reads ${what}`, () => {
    expect({ ...parseFlags(FLAGS, args) }).toStrictEqual({ config, words });
  });
}

const wrong: [string, string[], RegExp][] = [
  ['a flag that there is not', ['--htpp=:1'], /^there is no flag --htpp \(--help lists the flags\)$/],
  ['a short flag', ['-x'], /^there is no flag -x/],
  ['the name of something every object has', ['--constructor=1'], /^there is no flag --constructor/],
  ['a flag without a value', ['--http'], /^--http needs a value: --http=VALUE/],
  ['a flag whose value was forgotten', ['--kubelet-path', '--http=:1'], /^--kubelet-path needs a value/],
  ['a flag given twice', ['--http=:1', '--http=:2'], /^--http is given twice/],
  ['a wrong value', ['--http=x'], /^--http: "x" is not a port/],
  ['an empty value where there must be one', ['--http='], /^--http: "" is not a port/],
  ['several, all of them', ['--a', '--http=x', '-b'], /^there is no flag --a; there is no flag -b; --http: "x" is not a port \(/],
];
for (const [what, args, message] of wrong) {
  test(`parseFlags() refuses ${what}`, () => {
    expect(() => parseFlags(FLAGS, args)).toThrow(
      expect.toSatisfy((error: unknown) => error instanceof UsageError && message.test(error.message)),
    );
  });
}

test('parseFlags() gives a configuration or a UsageError, whatever the command line', () => {
  const arg = fc.oneof(fc.string(), fc.constantFrom('--http', '--http=:1', '--', '-', '--=', '--kubelet-path=', '--__proto__=1'));
  fc.assert(
    fc.property(fc.array(arg, { maxLength: 5 }), (args) => {
      try {
        const { config } = parseFlags(FLAGS, args);
        expect(Object.keys(config)).toStrictEqual(['http', 'kubelet-path']);
      } catch (error) {
        expect(error, String(error)).toBeInstanceOf(UsageError);
      }
    }),
  );
});

test('helpText() lists each flag with its default', () => {
  expect(helpText('program', FLAGS)).toBe('program\n\n  --http=:9808\n      address\n  --kubelet-path=…\n      directory\n');
});

test('seconds() gives milliseconds, and refuses what is no time', () => {
  expect(seconds('300')).toBe(300_000);
  expect(seconds('0.5')).toBe(500);
  for (const wrong of ['', ' ', '0', '-1', 'x', '1s', 'Infinity'])
    expect(() => seconds(wrong), wrong).toThrow(expect.objectContaining({ name: 'RangeError' }));
});

test('oneOf() takes its words and no other', () => {
  expect(oneOf(['a', 'b'])('b')).toBe('b');
  expect(() => oneOf(['a', 'b'])('c')).toThrow(expect.objectContaining({ message: '"c" is not one of a, b' }));
});
