import { valuesOf, valuesTables } from './values.ts';

const YAML = `# How much is said.
logLevel: info

# One comment
# on two lines: see docs/install.md#pools.
pools:
  - name: default
    # Not a value of its own.
    reserve: 20%
controller:
  replicas: 1 # beside it
`;

describe('values of the chart', () => {
  it('have the comment above as their meaning, and maps are followed', () => {
    const yaml = YAML.replace('  replicas', '  # How many pods.\n  replicas');
    expect(valuesOf(yaml).map(({ path, meaning }) => [path, meaning])).toStrictEqual([
      ['logLevel', 'How much is said.'],
      ['pools', 'One comment on two lines: see docs/install.md#pools.'],
      ['controller.replicas', 'How many pods.'],
    ]);
  });

  it('are refused without a meaning', () => {
    expect(() => valuesOf(YAML)).toThrow('values.yaml: controller.replicas has no comment that says what it means');
  });

  it('become tables, with links to the documents', () => {
    const values = valuesOf(
      '# See docs/install.md#pools and docs/alerts.md.\nimage:\n\n# A | B\nlogLevel: ""\n'.replace('image:', 'image: []'),
    );
    expect(valuesTables(values, { docs: '../', heading: '##' })).toBe(
      [
        '## General\n',
        '| Value | Default | Meaning |',
        '| --- | --- | --- |',
        '| `image` | `[]` | See [install.md](../install.md#pools) and [alerts.md](../alerts.md). |',
        '| `logLevel` | empty | A \\| B |',
      ].join('\n'),
    );
  });
});
