import { setImmediate } from 'node:timers/promises';
import { Code, RpcError } from '../../rpc/status.ts';
import { type JobStep, VolumeJobs } from './volume-jobs.ts';

const patient = new AbortController().signal;

/** A job whose end is in the hands of the test, and which counts how often it was begun. */
function gate(volumeId: string, operation = 'NodeStageVolume', args = 'a') {
  const it = {
    begun: 0,
    signal: patient,
    step: ((_name: string): void => {}) as JobStep,
    end: Promise.withResolvers<void>(),
    call: (jobs: VolumeJobs, caller = patient) =>
      jobs.queue(
        { volumeId, operation, args },
        (signal, step) => {
          it.begun++;
          Object.assign(it, { signal, step, end: Promise.withResolvers<void>() });
          signal.addEventListener('abort', () => it.end.reject(signal.reason));
          return it.end.promise;
        },
        caller,
      ),
  };
  return it;
}

const aborted = (message: RegExp) => ({ code: Code.ABORTED, message: expect.stringMatching(message) });
const late = (message: RegExp) => ({ code: Code.DEADLINE_EXCEEDED, message: expect.stringMatching(message) });
const settled = (call: Promise<void>) => call.then(String, String);

test('a few jobs run at a time, in the order in which they came', async () => {
  const jobs = new VolumeJobs('n1', 2);
  const all = ['v1', 'v2', 'v3', 'v4'].map((id) => gate(id));
  const calls = all.map((each) => each.call(jobs));
  const begun = () => all.map((each) => each.begun);
  expect(begun()).toStrictEqual([1, 1, 0, 0]);
  all[1]?.end.resolve();
  await calls[1];
  expect(begun()).toStrictEqual([1, 1, 1, 0]);
  for (const each of all) {
    await setImmediate();
    each.end.resolve();
  }
  await Promise.all(calls);
  expect(begun()).toStrictEqual([1, 1, 1, 1]);
});

test('a step that can be gone on with later ends for a call that it is named for, and for no other', async () => {
  const jobs = new VolumeJobs('n1');
  const stage = gate('v1');
  const call = settled(stage.call(jobs));
  const unstage = gate('v1', 'NodeUnstageVolume', 'b');
  await expect(unstage.call(jobs)).rejects.toMatchObject(aborted(/NodeStageVolume is still under way/));
  stage.step('zeros', { endedBy: 'NodeUnstageVolume' });
  await expect(jobs.run('v1', 'NodePublishVolume', async () => {})).rejects.toMatchObject(aborted(/still under way/));
  expect(stage.signal.aborted).toBe(false);
  await expect(unstage.call(jobs)).rejects.toMatchObject(aborted(/NodeStageVolume is being ended for it/));
  expect(await call).toMatch(/was ended: NodeUnstageVolume was called/);
  const again = unstage.call(jobs);
  expect(unstage.begun).toBe(1);
  unstage.end.resolve();
  await again;
});

test('operations that are not jobs never wait for jobs of other volumes', async () => {
  const jobs = new VolumeJobs('n1', 1);
  const stage = gate('v1');
  const call = stage.call(jobs);
  expect(await jobs.run('v2', 'NodePublishVolume', async () => 'published')).toBe('published');
  stage.end.resolve();
  await call;
});

test('a job goes on when its caller is gone, and the next call gets its result at once; the call after that begins again', async () => {
  const jobs = new VolumeJobs('n1');
  const stage = gate('v1');
  const caller = new AbortController();
  const first = stage.call(jobs, caller.signal);
  caller.abort();
  await expect(first).rejects.toMatchObject(late(/NodeStageVolume of volume v1 on node n1 has been running for 0 s; it goes on/));
  expect(stage.signal.aborted).toBe(false);
  stage.end.resolve();
  await setImmediate();
  await stage.call(jobs);
  expect(stage.begun).toBe(1);
  const again = stage.call(jobs);
  stage.end.resolve();
  await again;
  expect(stage.begun).toBe(2);
});

test('the next call joins a job that is still running, and an error reaches all who wait, once', async () => {
  const jobs = new VolumeJobs('n1');
  const stage = gate('v1');
  const caller = new AbortController();
  const first = settled(stage.call(jobs, caller.signal));
  caller.abort();
  await first;
  const calls = [stage.call(jobs), stage.call(jobs)].map(settled);
  stage.end.reject(new Error('bad disk'));
  expect(await Promise.all(calls)).toStrictEqual(['Error: bad disk', 'Error: bad disk']);
  const again = stage.call(jobs);
  stage.end.resolve();
  await again;
  expect(stage.begun).toBe(2);
});

test('an error that nobody waited for is reported to the next call, also after another operation; the call after that begins again', async () => {
  const jobs = new VolumeJobs('n1');
  const stage = gate('v1');
  const caller = new AbortController();
  const first = settled(stage.call(jobs, caller.signal));
  caller.abort();
  await first;
  stage.end.reject(new Error('bad disk'));
  await setImmediate();
  await jobs.run('v1', 'NodeUnpublishVolume', async () => {});
  await expect(stage.call(jobs)).rejects.toThrow('bad disk');
  const again = stage.call(jobs);
  stage.end.resolve();
  await again;
  expect(stage.begun).toBe(2);
});

test('success is forgotten when another operation could have undone it', async () => {
  const undo: ((jobs: VolumeJobs) => Promise<void>)[] = [
    (jobs) => jobs.run('v1', 'clean-up of a lost volume', async () => {}),
    (jobs) => jobs.queue({ volumeId: 'v1', operation: 'NodeUnstageVolume', args: 'a' }, async () => {}, patient),
    (jobs) => jobs.queue({ volumeId: 'v1', operation: 'NodeStageVolume', args: 'b' }, async () => {}, patient),
  ];
  for (const other of undo) {
    const jobs = new VolumeJobs('n1');
    const stage = gate('v1');
    const caller = new AbortController();
    const first = settled(stage.call(jobs, caller.signal));
    caller.abort();
    await first;
    stage.end.resolve();
    await setImmediate();
    await other(jobs);
    const again = stage.call(jobs);
    stage.end.resolve();
    await again;
    expect(stage.begun).toBe(2);
  }
});

test('a job that waits for its turn is not begun without a caller, and keeps its place for the next call', async () => {
  const jobs = new VolumeJobs('n1', 1);
  const [running, impatient, later] = [gate('v1'), gate('v2'), gate('v3')];
  const calls = [running.call(jobs)];
  const caller = new AbortController();
  const gone = impatient.call(jobs, caller.signal);
  calls.push(later.call(jobs));
  caller.abort();
  await expect(gone).rejects.toMatchObject(
    late(/volume v2 on node n1 waits for its turn behind 0 others, and keeps its place; 1 run at a time/),
  );
  calls.push(impatient.call(jobs));
  running.end.resolve();
  await calls[0];
  expect([impatient.begun, later.begun]).toStrictEqual([1, 0]);
  impatient.end.resolve();
  await calls[2];
  expect(later.begun).toBe(1);
  later.end.resolve();
  await Promise.all(calls);
});

test('without a caller its turn passes to the next, and another operation may take the volume', async () => {
  const jobs = new VolumeJobs('n1', 1);
  const [running, gone, later] = [gate('v1'), gate('v2'), gate('v3')];
  const first = running.call(jobs);
  const caller = new AbortController();
  const left = settled(gone.call(jobs, caller.signal));
  const last = later.call(jobs);
  caller.abort();
  await left;
  running.end.resolve();
  await first;
  expect([gone.begun, later.begun]).toStrictEqual([0, 1]);
  const unstage = gate('v2', 'NodeUnstageVolume');
  const call = unstage.call(jobs);
  later.end.resolve();
  await last;
  unstage.end.resolve();
  await call;
  expect(gone.begun).toBe(0);
});

test('another operation, or other arguments, for the same volume are ABORTED and name what is under way', async () => {
  const jobs = new VolumeJobs('n1', 1);
  const stage = gate('v1');
  const waiting = gate('v2');
  const calls = [stage.call(jobs), waiting.call(jobs)];
  stage.step('e2fsck');
  const underWay = aborted(/: NodeStageVolume is still under way. e2fsck of volume v1 on node n1 has been running for \d+ s/);
  await expect(gate('v1', 'NodeUnstageVolume').call(jobs)).rejects.toMatchObject(underWay);
  await expect(gate('v1', 'NodeStageVolume', 'b').call(jobs)).rejects.toMatchObject(underWay);
  await expect(jobs.run('v1', 'NodePublishVolume', async () => {})).rejects.toMatchObject(underWay);
  await expect(gate('v2', 'NodeUnstageVolume').call(jobs)).rejects.toMatchObject(
    aborted(/NodeStageVolume of volume v2 .* waits for its turn/),
  );
  const other = Promise.withResolvers<void>();
  const publish = jobs.run('v3', 'NodePublishVolume', () => other.promise);
  await expect(gate('v3').call(jobs)).rejects.toMatchObject(aborted(/NodePublishVolume is still under way/));
  other.resolve();
  await publish;
  stage.end.resolve();
  await calls[0];
  waiting.end.resolve();
  await Promise.all(calls);
});

test('a slow job gives its place to the next one and goes on; what nobody asks for is forgotten', async () => {
  jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate'] });
  const jobs = new VolumeJobs('n1', 1);
  const [slow, next, last] = [gate('v1'), gate('v2'), gate('v3')];
  const caller = new AbortController();
  const calls = [slow.call(jobs), next.call(jobs), settled(last.call(jobs, caller.signal))];
  caller.abort();
  jest.advanceTimersByTime(30_000);
  expect([slow.begun, next.begun]).toStrictEqual([1, 1]);
  // A place that was given away is not given back a second time.
  slow.end.resolve();
  await calls[0];
  const fourth = gate('v4');
  const waits = fourth.call(jobs);
  expect(fourth.begun).toBe(0);
  // The place of v3 is forgotten: its next call is behind v4.
  jest.advanceTimersByTime(300_000);
  expect(fourth.begun).toBe(1);
  next.end.resolve();
  fourth.end.resolve();
  await Promise.all([calls[1], waits]);
});

test('stop() ends the jobs that run, and those that wait; their callers get UNAVAILABLE', async () => {
  const jobs = new VolumeJobs('n1', 1);
  const calls = [gate('v1'), gate('v2')].map((each) => each.call(jobs));
  jobs.stop();
  for (const call of [...calls, gate('v3').call(jobs)]) await expect(call).rejects.toMatchObject({ code: Code.UNAVAILABLE });
});

test('what stop() cuts short is UNAVAILABLE, not INTERNAL, whatever the step made of it', async () => {
  const jobs = new VolumeJobs('n1');
  const call = jobs.queue(
    { volumeId: 'v1', operation: 'NodeStageVolume', args: '' },
    (signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(new RpcError(Code.INTERNAL, 'mkfs was killed')));
      }),
    patient,
  );
  jobs.stop();
  await expect(call).rejects.toMatchObject({ code: Code.UNAVAILABLE, message: expect.stringMatching(/cut short: mkfs was killed/) });
});

test('cancel() ends a running job of that operation: its programs are killed, and its callers get the reason', async () => {
  const jobs = new VolumeJobs('n1', 1);
  const stage = gate('v1');
  const next = gate('v2');
  const call = stage.call(jobs);
  const waiting = next.call(jobs);
  expect(jobs.cancel('v1', 'NodeUnstageVolume', 'x')).toBe(false);
  expect(jobs.cancel('v2', 'NodeStageVolume', 'it only waits for its turn')).toBe(false);
  expect(jobs.cancel('v3', 'NodeStageVolume', 'x')).toBe(false);
  expect(jobs.cancel('v1', 'NodeStageVolume', 'it was lost')).toBe(true);
  expect(stage.signal.aborted).toBe(true);
  await expect(call).rejects.toMatchObject(aborted(/^NodeStageVolume of volume v1 on node n1 was ended: it was lost$/));
  await jobs.run('v1', 'clean-up', async () => {});
  expect(next.begun).toBe(1);
  next.end.resolve();
  await waiting;
});
