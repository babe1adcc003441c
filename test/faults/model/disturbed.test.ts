import { whileDisturbed } from './disturbed.ts';

describe('whileDisturbed()', () => {
  const record = () => {
    const events: string[] = [];
    const begin = () => {
      events.push('begin');
      return () => void events.push('undo');
    };
    return { events, begin };
  };

  it('ends the disturbance after its time when the work is done earlier', async () => {
    const { events, begin } = record();
    await whileDisturbed(begin, { after: 0, seconds: 0.01 }, async () => void events.push('work'));
    expect(events).toStrictEqual(['work', 'begin', 'undo']);
  });

  it('ends it at once when the work fails, and gives the error of the work', async () => {
    const { events, begin } = record();
    const work = () => Promise.reject(new Error('no record'));
    await expect(whileDisturbed(begin, { after: 0, seconds: 3600 }, work)).rejects.toThrow('no record');
    expect(events).toStrictEqual(['begin', 'undo']);
  });

  it('fails when the disturbance cannot be ended', async () => {
    const begin = () => () => Promise.reject(new Error('still down'));
    await expect(whileDisturbed(begin, { after: 0, seconds: 0 }, async () => {})).rejects.toThrow('still down');
  });
});
