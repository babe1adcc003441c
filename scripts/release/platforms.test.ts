import { HERE } from '../../test/testbed/image/platform.ts';
import { platformsIn } from './platforms.ts';

test('a release is for the platforms of the list, each once', () => {
  expect(platformsIn('arm64 amd64,arm64')).toStrictEqual(['amd64', 'arm64']);
  expect(platformsIn()).toStrictEqual([HERE]);
  expect(platformsIn(' ')).toStrictEqual([HERE]);
});

test('a platform that is not known is an error', () => {
  expect(() => platformsIn('amd64 riscv64')).toThrow('PLATFORMS has riscv64; there are amd64 and arm64');
});
