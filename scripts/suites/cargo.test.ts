import { countCargo, failedInCargo, outputOf } from './cargo.ts';

const OUTPUT = `
running 3 tests
test ata::tests::reads ... ok
test config::tests::force ... FAILED
test slow ... ignored

failures:

---- config::tests::force stdout ----
thread 'config::tests::force' panicked at target/src/wire/config.rs:7:5:
no answer

failures:
    config::tests::force

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s

     Running tests/it/main.rs (dist/cargo/debug/deps/it-0)

running 2 tests
test restart::keeps_exports ... ok
test restart::panics - should panic ... FAILED

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 2.51s
`;

describe('countCargo()', () => {
  it('adds up the result lines of all test programs', () => {
    expect(countCargo(OUTPUT)).toStrictEqual({ passed: 2, failed: 2, skipped: 1 });
  });

  it('counts nothing where the code did not compile', () => {
    expect(countCargo('error[E0308]: mismatched types\nerror: could not compile')).toStrictEqual({ passed: 0, failed: 0, skipped: 0 });
  });

  it('is not misled by what a test prints', () => {
    expect(countCargo('it said: test result: ok. 9 passed; 0 failed; 0 ignored;')).toStrictEqual({ passed: 0, failed: 0, skipped: 0 });
  });
});

describe('failedInCargo()', () => {
  it('names the tests that failed', () => {
    expect(failedInCargo(OUTPUT)).toStrictEqual(['config::tests::force', 'restart::panics']);
  });
});

describe('outputOf()', () => {
  it('gives what the failed test printed', () => {
    expect(outputOf('config::tests::force', OUTPUT)).toBe(
      "thread 'config::tests::force' panicked at target/src/wire/config.rs:7:5:\nno answer",
    );
  });

  it('is empty for a test that is not there', () => {
    expect(outputOf('other', OUTPUT)).toBe('');
  });
});
