import { type Manifest, render } from './helm.ts';

const PROGRAMS = ['operator', 'csi-controller', 'agent', 'csi-node'];

test('our programs get what keeps their memory small, and others may decide otherwise', async () => {
  const manifests = await render({ node: { extraEnv: [{ name: 'NODE_OPTIONS', value: '--max-old-space-size=512' }] } });
  const containers = manifests.flatMap((manifest): Manifest[] => manifest.spec?.template?.spec.containers ?? []);
  for (const name of PROGRAMS) {
    const { command, env } = containers.find((each) => each.name === name) as Manifest;
    expect(command.slice(0, 3), name).toStrictEqual(['node', '--no-maglev', '--no-turbofan']);
    // The last one of a name counts.
    const value = (key: string) => env.findLast((entry: Manifest) => entry.name === key)?.value;
    expect(value('NODE_OPTIONS'), name).toMatch(name === 'csi-node' ? /^--max-old-space-size=512$/ : /^--max-semi-space-size=2 /);
    expect(value('MALLOC_ARENA_MAX'), name).toBe('1');
  }
});
