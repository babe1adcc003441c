import type { KubeObject } from '../client/types.ts';
import { OwnWrites } from './own-writes.ts';

type Labelled = KubeObject & { label: string };
const object = (resourceVersion: string, label: string, uid = 'u'): Labelled => ({ metadata: { name: 'a', uid, resourceVersion }, label });

/** A store of one object that the test changes, and the overlay over it. */
function overlay(stored: Labelled) {
  const store = { object: stored as Labelled | undefined };
  const all = () => (store.object ? [store.object] : []);
  const writes = new OwnWrites<Labelled>({ get: (name) => all().find(({ metadata }) => metadata.name === name), list: all });
  const labels = () => [writes.get('a')?.label, ...writes.list().map(({ label }) => label), ...writes.reserved().map(({ label }) => label)];
  return { store, writes, labels };
}

test('a confirmed write is seen until the store is as new', () => {
  const { store, writes, labels } = overlay(object('9', 'old'));
  writes.confirm(object('10', 'ours'));
  expect(labels()).toStrictEqual(['ours', 'ours', 'ours']);
  store.object = object('10', 'stored');
  expect(labels()).toStrictEqual(['stored', 'stored', 'stored']);
  store.object = object('9', 'old again');
  expect(writes.get('a')?.label, 'it is forgotten for good').toBe('old again');
});

test('a write under way is reserved only, until the store is newer than what it is based on', () => {
  const { store, writes, labels } = overlay(object('9', 'old'));
  writes.reserve(object('9', 'ours'));
  expect(labels()).toStrictEqual(['old', 'old', 'ours']);
  store.object = object('10', 'stored');
  expect(labels()).toStrictEqual(['stored', 'stored', 'stored']);
});

test('a write that was refused is reserved no longer', () => {
  const { writes, labels } = overlay(object('9', 'old'));
  writes.reserve(object('9', 'ours'));
  writes.drop('a');
  expect(labels()).toStrictEqual(['old', 'old', 'old']);
});

test('a new object of the same name gets nothing, and one that is gone does not come back', () => {
  const { store, writes, labels } = overlay(object('9', 'old'));
  writes.confirm(object('20', 'ours'));
  store.object = object('11', 'another', 'u2');
  expect(labels()).toStrictEqual(['another', 'another', 'another']);
  writes.confirm(object('20', 'ours', 'u2'));
  store.object = undefined;
  expect(labels()).toStrictEqual([undefined]);
  store.object = object('12', 'third', 'u2');
  expect(writes.get('a')?.label).toBe('third');
});

test('writes that the watch has not shown are listed with what the store still has, and no others', () => {
  const { store, writes } = overlay(object('9', 'old'));
  const pending = () => writes.pending().map(({ stored, written }) => [stored.label, written.label]);
  expect(pending()).toStrictEqual([]);
  writes.reserve(object('9', 'ours'));
  expect(pending()).toStrictEqual([['old', 'ours']]);
  writes.confirm(object('10', 'confirmed'));
  expect(pending()).toStrictEqual([['old', 'confirmed']]);
  store.object = object('10', 'stored');
  expect(pending()).toStrictEqual([]);
});
