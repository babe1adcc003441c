import { type Definition, resourcesPage, type Schema } from './resources.ts';

const definition = (openAPIV3Schema: Schema): Definition => ({
  spec: { names: { kind: 'AoEThing', plural: 'aoethings', shortNames: ['aoet'] }, versions: [{ name: 'v1', schema: { openAPIV3Schema } }] },
});

describe('the page of the resources', () => {
  it('has every field with type, default, limits and rules', () => {
    const page = resourcesPage([
      definition({
        description: 'AoEThing is a thing.',
        properties: {
          spec: {
            type: 'object',
            required: ['size'],
            'x-kubernetes-validations': [{ rule: 'r', message: 'size cannot be changed' }],
            properties: {
              size: { type: 'string', description: 'How large.', 'x-kubernetes-validations': [{ rule: 'r', message: 'must be a size' }] },
              mode: { type: 'string', enum: ['A', 'B'], default: 'A' },
              shelves: { type: 'array', items: { type: 'object', properties: { shelf: { type: 'integer', minimum: 0, maximum: 9 } } } },
            },
          },
          status: { type: 'object', properties: { conditions: { type: 'array', items: { type: 'object', properties: { type: {} } } } } },
        },
      }),
    ]);
    expect(page).toBe(`## AoEThing

AoEThing is a thing. \`aoe.dev/v1\`, of the whole cluster. For \`kubectl\`: \`aoethings\`, \`aoet\`.

### AoEThing spec

| Field | Type | Meaning |
| --- | --- | --- |
| \`size\` | string | How large. Required. Must be a size. |
| \`mode\` | \`A\`, \`B\` | Default: \`A\`. |
| \`shelves\` | list of objects | |
| \`shelves[].shelf\` | integer | 0 to 9. |

The API server refuses what breaks one of these rules:

- size cannot be changed

### AoEThing status

Written by the programs.

| Field | Type | Meaning |
| --- | --- | --- |
| \`conditions\` | list of objects | See [Conditions and reasons](../conditions.md). |`);
  });
});
