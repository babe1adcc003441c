// A program for the tests of main(): --how says how it goes on.
import { setTimeout as delay } from 'node:timers/promises';
import { main, type Program } from '../main.ts';

const FLAGS = {
  how: {
    default: 'return',
    help: 'what it does',
    parse: (text: string) => {
      if (text === 'wrong') throw new Error('is wrong');
      return text;
    },
  },
} as const;

await main('example', FLAGS, run, { graceMs: 500 });

async function run({ config, words, env, log, signal }: Program<typeof FLAGS>): Promise<void> {
  log.info({ words, env }, 'started');
  switch (config.how) {
    case 'throw':
      throw new Error('it broke', { cause: new Error('the cause') });
    case 'reject':
      void Promise.reject(new Error('nobody waits for this'));
      await delay(20_000);
      return;
    case 'wait':
      await delay(20_000, undefined, { signal });
      return;
    case 'clean-up':
      await delay(20_000, undefined, { signal }).catch(() => log.info('cleaned up'));
      return;
    case 'break-while-ending':
      await delay(20_000, undefined, { signal }).catch(() => Promise.reject(new Error('cannot clean up')));
      return;
    case 'ignore':
      await delay(20_000);
      return;
    case 'return':
      // A timer that is still running does not keep it alive.
      setTimeout(() => {}, 20_000);
  }
}
