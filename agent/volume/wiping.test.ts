import { WipeMeter } from './wiping.ts';

test('a wipe says how far it has come, and how long it will take at its rate', () => {
  let now = 0;
  const meter = new WipeMeter(() => now);
  expect(meter.state).toBeUndefined();
  // An earlier process has zeroed 100 bytes.
  meter.note({ zeroed: 100, bytes: 500 });
  expect(meter.state).toStrictEqual({ zeroed: 100, bytes: 500, remainingMs: undefined });
  now = 1_000;
  meter.note({ zeroed: 200, bytes: 500 });
  expect(meter.state).toStrictEqual({ zeroed: 200, bytes: 500, remainingMs: 3_000 });
  meter.end();
  expect(meter.state).toBeUndefined();
});
