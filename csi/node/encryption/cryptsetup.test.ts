import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mappingName } from '../../../api/address.ts';
import { Code } from '../../../rpc/status.ts';
import { type Exec, ExecError } from '../../../run/exec.ts';
import type { Mapping } from '../contracts.ts';
import { Cryptsetup } from './cryptsetup.ts';
import { Passphrase } from './passphrase.ts';

const { signal } = new AbortController();
const KEY = 'correct horse';
const passphrase = new Passphrase(KEY);
const NAME = mappingName('e7.3', '0b6d-1');

/** cryptsetup and dmsetup that do what a script says, in a sys file system. */
function setUp(script: (command: string) => void = () => {}) {
  const sysfs = mkdtempSync(join(tmpdir(), 'aoe-luks-'));
  mkdirSync(join(sysfs, 'block'));
  const started: { command: string; input: string | undefined; timeoutMs: number }[] = [];
  const exec: Exec = async (program, args, { input, timeoutMs }) => {
    const command = [program, ...args].join(' ');
    started.push({ command, input, timeoutMs });
    script(command);
    return { stdout: '0b6d-1\n', stderr: '' };
  };
  const add = (node: string, name: string, { slaves = ['etherd!e7.3'], sectors = 98304 } = {}): void => {
    const directory = join(sysfs, 'block', node);
    mkdirSync(join(directory, 'dm'), { recursive: true });
    for (const slave of slaves) mkdirSync(join(directory, 'slaves', slave), { recursive: true });
    mkdirSync(join(directory, 'slaves'), { recursive: true });
    writeFileSync(join(directory, 'dm/name'), `${name}\n`);
    writeFileSync(join(directory, 'dev'), '254:0\n');
    writeFileSync(join(directory, 'size'), `${sectors}\n`);
  };
  const remove = (node: string): void => rmSync(join(sysfs, 'block', node), { recursive: true });
  return { encryption: new Cryptsetup(exec, sysfs), started, add, remove };
}

const failing = (code: number, stderr: string) => new ExecError('cryptsetup', `exit status ${code}`, code, { stdout: '', stderr });

test('a header is made with everything named that decides about sizes and memory, and with the passphrase on standard input', async () => {
  const { encryption, started } = setUp();
  await encryption.format('/dev/etherd/e7.3', { uuid: '0b6d-1', passphrase, authenticated: false }, signal);
  expect(started.map(({ command }) => command)).toStrictEqual([
    'cryptsetup luksFormat --batch-mode --type luks2 --cipher aes-xts-plain64 --key-size 512 --hash sha256 --sector-size 4096 --offset 32768 ' +
      '--pbkdf argon2id --pbkdf-memory 65536 --pbkdf-parallel 1 --pbkdf-force-iterations 4 --uuid 0b6d-1 --key-file - /dev/etherd/e7.3',
  ]);
  expect(started[0]?.input).toBe(KEY);
  await encryption.format('/dev/etherd/e7.3', { uuid: '0b6d-1', passphrase, authenticated: true }, signal);
  expect(started[1]?.command).toMatch(' --integrity hmac-sha256 --integrity-no-wipe --uuid 0b6d-1 ');
});

test('a mapping with tags is one mapping, found through the device below it, and is closed before that', async () => {
  const { encryption, started, add } = setUp();
  add('dm-0', `${NAME}_dif`);
  expect(await encryption.mappings('e7.3'), 'cryptsetup was killed before the other was there').toStrictEqual([]);
  add('dm-1', NAME, { slaves: ['dm-0'] });
  expect(await encryption.mappings('e7.3')).toMatchObject([{ name: NAME, node: 'dm-1', tags: 'dm-0' }]);
  await expect(encryption.closeAll('e7.3', signal)).resolves.toBeUndefined();
  expect(started.map(({ command }) => command)).toStrictEqual([`dmsetup remove --retry ${NAME}`, `dmsetup remove --retry ${NAME}_dif`]);
});

test('zeros are durable when the call returns', async () => {
  const { encryption, started, add } = setUp();
  add('dm-3', NAME);
  const [mapping] = await encryption.mappings('e7.3');
  await encryption.zero(mapping as never, { start: 5 << 20, length: 64 << 20 }, signal);
  expect(started.at(-1)).toMatchObject({
    command: `dd if=/dev/zero of=/dev/mapper/${NAME} bs=1048576 count=67108864 seek=5242880 iflag=count_bytes oflag=seek_bytes,direct conv=nocreat,notrunc,fdatasync status=none`,
  });
});

test('zeros are written to two disks of a node at a time, first come first served, and nobody else waits for them', async () => {
  const running: { of: string; end: (error?: Error) => void }[] = [];
  const encryption = new Cryptsetup((_program, args) => {
    const { promise, resolve, reject } = Promise.withResolvers<{ stdout: string; stderr: string }>();
    const of = `${args[1]?.slice(-1)} ${args.find((arg) => arg.startsWith('seek='))?.slice(5)}`;
    running.push({ of, end: (error) => (error ? reject(error) : resolve({ stdout: '', stderr: '' })) });
    return promise;
  });
  const mapping = (name: string): Mapping => ({ name, node: 'dm-1', path: `/dev/mapper/${name}`, device: '254:1', bytes: 8 << 20 });
  const zero = (name: string, start = 0, stop: AbortSignal = signal) => encryption.zero(mapping(name), { start, length: 4096 }, stop);
  const begun = async () => {
    await new Promise((resolve) => setImmediate(resolve));
    return running.map(({ of }) => of);
  };
  const leaving = new AbortController();
  const all = [zero('a'), zero('b'), zero('c'), zero('d', 0, leaving.signal), zero('a', 4096)];
  const [failing, , , left] = all;
  const outcomes = Promise.allSettled(all);
  const ends = encryption.zeroEnds(mapping('e'), signal);
  expect(await begun()).toStrictEqual(['e 0', 'a 0', 'b 0']);
  leaving.abort(new Error('NodeUnstageVolume'));
  await expect(left).rejects.toThrow('NodeUnstageVolume');
  running[1]?.end(new Error('dd was killed'));
  await expect(failing).rejects.toThrow(/cannot be written/);
  expect(await begun()).toStrictEqual(['e 0', 'a 0', 'b 0', 'c 0']);
  running[2]?.end();
  expect(await begun()).toStrictEqual(['e 0', 'a 0', 'b 0', 'c 0', 'a 4096']);
  running[0]?.end();
  expect((await begun()).at(-1)).toBe('e 7340032');
  for (const { end } of running) end();
  await ends;
  expect((await outcomes).map(({ status }) => status)).toStrictEqual(['rejected', 'fulfilled', 'fulfilled', 'rejected', 'fulfilled']);
});

test('a disk is opened, and the mapping is what sysfs says', async () => {
  const { encryption, started, add } = setUp((command) => command.startsWith('cryptsetup open') && add('dm-3', NAME));
  const options = { name: NAME, passphrase, readOnly: false };
  const mapping = { name: NAME, node: 'dm-3', path: `/dev/mapper/${NAME}`, device: '254:0', bytes: 48 << 20 };
  expect(await encryption.open('/dev/etherd/e7.3', options, signal)).toStrictEqual(mapping);
  expect(await encryption.mappings('e7.3')).toStrictEqual([mapping]);
  expect(started).toMatchObject([
    { command: `cryptsetup open --type luks2 --disable-keyring --key-file - /dev/etherd/e7.3 ${NAME}`, input: KEY },
  ]);
  expect(started[0]?.command).not.toContain(KEY);
  await encryption.open('/dev/etherd/e7.3', { ...options, readOnly: true }, signal);
  expect(started[1]?.command).toMatch('--readonly');
});

for (const [code, stderr, expected] of [
  [
    2,
    'No key available with this passphrase.',
    { code: Code.UNAUTHENTICATED, message: expect.stringMatching(/does not open the LUKS header/) },
  ],
  [
    3,
    'Not enough available memory to open a keyslot.',
    { code: Code.INTERNAL, message: expect.stringMatching(/Not enough available memory/) },
  ],
  [1, 'Device /dev/etherd/e7.3 is not a valid LUKS device.', { code: Code.INTERNAL, message: expect.stringMatching(/not a valid LUKS/) }],
] as const) {
  test(`exit status ${code} of cryptsetup open`, async () => {
    const { encryption } = setUp(() => {
      throw failing(code, stderr);
    });
    await expect(encryption.open('/dev/etherd/e7.3', { name: NAME, passphrase, readOnly: false }, signal)).rejects.toMatchObject(expected);
  });
}

test('mappings are those on the disk that are complete; other disks, addresses and names are left out', async () => {
  const { encryption, add } = setUp();
  add('dm-0', 'vg0-root', { slaves: ['vda'] });
  add('dm-1', mappingName('e7.30', 'u'), { slaves: ['etherd!e7.30'] });
  add('dm-2', NAME, { slaves: [], sectors: 0 });
  add('dm-3', 'luks-of-somebody');
  expect(await encryption.mappings('e7.3')).toStrictEqual([]);
  add('dm-2', NAME);
  expect((await encryption.mappings('e7.3')).map(({ node }) => node)).toStrictEqual(['dm-2']);
});

test('closing takes ours of the address, complete or not, and what cryptsetup left when it was killed; nothing else', async () => {
  const { encryption, started, add, remove } = setUp();
  add('dm-0', 'vg0-root', { slaves: ['vda'] });
  add('dm-1', mappingName('e7.30', 'u'), { slaves: ['etherd!e7.30'] });
  add('dm-2', NAME, { slaves: [], sectors: 0 });
  add('dm-3', 'temporary-cryptsetup-77');
  add('dm-4', 'temporary-cryptsetup-78', { slaves: ['vda'] });
  add('dm-5', 'luks-of-somebody');
  await encryption.closeAll('e7.3', signal);
  expect(new Set(started.map(({ command }) => command))).toStrictEqual(
    new Set([`dmsetup remove --retry ${NAME}`, 'dmsetup remove --retry temporary-cryptsetup-77']),
  );
  remove('dm-2');
});

test('a mapping that is in use stays, with an error; one that is gone by then is none', async () => {
  let busy = true;
  const { encryption, add, remove } = setUp(() => {
    if (!busy) remove('dm-2');
    throw failing(1, 'device-mapper: remove ioctl failed: Device or resource busy');
  });
  add('dm-2', NAME);
  await expect(encryption.closeAll('e7.3', signal)).rejects.toMatchObject({ code: Code.INTERNAL, message: expect.stringMatching(/busy/) });
  busy = false;
  await encryption.closeAll('e7.3', signal);
});

test('a kernel without dm-crypt is UNAVAILABLE, with advice', async () => {
  const { encryption } = setUp(() => {
    throw failing(1, 'modprobe: FATAL: Module dm_crypt not found');
  });
  await expect(encryption.prepare({ authenticated: false }, signal)).rejects.toMatchObject({
    code: Code.UNAVAILABLE,
    message: expect.stringMatching(/install the module/),
  });
  const other = setUp((command) => {
    if (command.endsWith('dm_integrity')) throw failing(1, 'modprobe: FATAL: Module dm_integrity not found');
  });
  await other.encryption.prepare({ authenticated: false }, signal);
  await expect(other.encryption.prepare({ authenticated: true }, signal)).rejects.toMatchObject({
    code: Code.UNAVAILABLE,
    message: expect.stringMatching(/dm-integrity cannot be loaded.*authenticated encryption/),
  });
});
