import { imagesOf, imagesTable } from './images.ts';

describe('the images of the chart', () => {
  const sidecar = { repository: 'registry.example/attacher', tag: 'v1', digest: '' };
  const values = { image: { repository: 'localhost/aoe-csi', tag: '', digest: 'sha256:0' }, controller: { attacher: { image: sidecar } } };

  it('are found at any depth, ours with the version of the chart', () => {
    expect(imagesOf(values, '0.1.0').map(({ value, tag }) => [value, tag])).toStrictEqual([
      ['image', '0.1.0'],
      ['controller.attacher.image', 'v1'],
    ]);
  });

  it('are listed by their digest where the chart has one', () => {
    expect(imagesTable(imagesOf(values, '0.1.0')).split('\n').slice(2)).toStrictEqual([
      '| `image` | `localhost/aoe-csi@sha256:0` |',
      '| `controller.attacher.image` | `registry.example/attacher:v1` |',
    ]);
  });
});
