import { KubeletRegistration } from './kubelet-registration.ts';

const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

/** What the kubelet sees: `+` when the socket appears (`+topology` when NodeGetInfo has one then), `-` when it goes. */
function setUp() {
  const seen: string[] = [];
  const volumes = { staged: [] as string[], lost: [] as string[] };
  const faults = { start: 0 };
  const registration = new KubeletRegistration({
    server: () => ({
      start: async () => {
        if (faults.start-- > 0) throw new Error('EADDRINUSE');
        seen.push(registration.hasTopology ? '+topology' : '+');
      },
      stop: async () => void seen.push('-'),
    }),
    staged: { list: async () => volumes.staged, listLost: async () => volumes.lost },
    log: silent,
  });
  return { seen, volumes, faults, registration };
}

test('a node that can mount is registered once, with its topology', async () => {
  const { seen, registration } = setUp();
  for (let i = 0; i < 3; i++) await registration.update(true);
  expect(seen).toStrictEqual(['+topology']);
});

test('a node that cannot mount is not registered until it can', async () => {
  const { seen, registration } = setUp();
  for (let i = 0; i < 3; i++) await registration.update(false);
  expect(seen).toStrictEqual([]);
  await registration.update(true);
  expect(seen).toStrictEqual(['+topology']);
});

for (const kind of ['staged', 'lost'] as const) {
  test(`a node that cannot mount but has ${kind} volumes is registered without topology, and again when it can mount`, async () => {
    const { seen, volumes, registration } = setUp();
    volumes[kind] = ['v1'];
    await registration.update(false);
    await registration.update(false);
    expect(seen).toStrictEqual(['+']);
    await registration.update(true);
    await registration.update(true);
    expect(seen).toStrictEqual(['+', '-', '+topology']);
  });
}

test('the registration goes when the node cannot mount in two checks in a row and has no volume', async () => {
  const { seen, volumes, registration } = setUp();
  volumes.staged = ['v1'];
  await registration.update(true);
  for (let i = 0; i < 3; i++) await registration.update(false);
  expect(seen).toStrictEqual(['+topology']);
  volumes.staged = [];
  await registration.update(true);
  await registration.update(false);
  expect(seen).toStrictEqual(['+topology']);
  await registration.update(false);
  expect(seen).toStrictEqual(['+topology', '-']);
  await registration.update(true);
  expect(seen).toStrictEqual(['+topology', '-', '+topology']);
});

test('a registration that failed is tried again', async () => {
  const { seen, faults, registration } = setUp();
  faults.start = 2;
  for (let i = 0; i < 4; i++) await registration.update(true);
  expect(seen).toStrictEqual(['+topology']);
});

test('after stop() nothing is registered any more', async () => {
  const { seen, registration } = setUp();
  await registration.update(true);
  await registration.stop();
  await registration.update(true);
  expect(seen).toStrictEqual(['+topology', '-']);
});
