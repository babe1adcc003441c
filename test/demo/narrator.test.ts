import { poll } from '../testbed/process/shell.ts';
import { Narrator } from './narrator.ts';

/** A cluster whose pods and targets answer so, one answer after the other, and what the narrator has printed. */
function narrated(answers: string[]) {
  const printed: string[] = [];
  const answer = async () => answers.shift() ?? '';
  const narrator = new Narrator({ kubectl: answer, aoecfg: answer, poll, apply: answer, guest: () => ({}) as never }, (text) =>
    printed.push(text),
  );
  return { narrator, printed: () => printed.join('\n'), left: () => answers };
}

test('the log of a pod is shown once it has what the program has written', async () => {
  const it = narrated(['', 'written by writer\n', 'too late']);
  await it.narrator.showUntil('written by', 'logs', 'reader');
  expect(it.printed()).toContain('written by writer');
  expect(it.left()).toStrictEqual(['too late']);
});

test('a config string is asked for again until an answer has the lock', async () => {
  const it = narrated(['', '\n', 'aoe.dev/1 node=worker-1\n']);
  await it.narrator.showConfigString('e7.3', 'node=worker-1', 'the lock');
  expect(it.printed()).toMatch(/segment# .*aoecfg 7 3 storage/);
  expect(it.left()).toStrictEqual([]);
});
