import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Code } from '../../../rpc/status.ts';
import { type Exec, ExecError } from '../../../run/exec.ts';
import { Cryptsetup } from './cryptsetup.ts';
import { addressOfMapping, mappingName } from './mapping-name.ts';
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
  await encryption.format('/dev/etherd/e7.3', { uuid: '0b6d-1', passphrase }, signal);
  expect(started.map(({ command }) => command)).toStrictEqual([
    'cryptsetup luksFormat --batch-mode --type luks2 --cipher aes-xts-plain64 --key-size 512 --hash sha256 --sector-size 4096 --offset 32768 ' +
      '--pbkdf argon2id --pbkdf-memory 65536 --pbkdf-parallel 1 --pbkdf-force-iterations 4 --uuid 0b6d-1 --key-file - /dev/etherd/e7.3',
  ]);
  expect(started[0]?.input).toBe(KEY);
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

test('the names of mappings have the address, so that a hung program is found by it', () => {
  expect(addressOfMapping('/dev/mapper/aoe-e7.3-u')).toBe('e7.3');
  expect(addressOfMapping('aoe-e7.30-u')).toBe('e7.30');
  for (const other of ['/dev/mapper/vg-aoe', 'aoe-e7.3', '/dev/etherd/e7.3', 'x-aoe-e7.3-u'])
    expect(addressOfMapping(other)).toBeUndefined();
});

test('a kernel without dm-crypt is UNAVAILABLE, with advice', async () => {
  const { encryption } = setUp(() => {
    throw failing(1, 'modprobe: FATAL: Module dm_crypt not found');
  });
  await expect(encryption.prepare(signal)).rejects.toMatchObject({
    code: Code.UNAVAILABLE,
    message: expect.stringMatching(/install the module/),
  });
});
