import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DirectoryChanges } from './directory-changes.ts';

const LONG_MS = 60_000;

test('next() resolves at a change', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'aoe-changes-'));
  using changes = new DirectoryChanges(directory);
  const next = changes.next(LONG_MS);
  writeFileSync(join(directory, 'e7.3'), '');
  await next;
});

test('a directory that cannot be watched is polled: fs.watch() throws, as it does when no inotify instance is left', async () => {
  using changes = new DirectoryChanges('/no/such/directory');
  await changes.next(1);
  expect(true).toBe(true);
});
