import { of, render } from './helm.ts';

describe('values of the chart', () => {
  it('make a class whose volumes give their free space back regularly', async () => {
    const manifests = await render({
      storageClasses: [
        { name: 'weekly', reclaimEvery: '168h' },
        { name: 'plain', reclaimEvery: '' },
      ],
    });
    expect(of(manifests, 'StorageClass', 'weekly').parameters.reclaimEvery).toBe('168h');
    expect(of(manifests, 'StorageClass', 'plain').parameters).not.toHaveProperty('reclaimEvery');
  });

  it('are refused with a schedule that no node carries out', async () => {
    const inDays = [{ name: 'a', reclaimEvery: '7d' }];
    await expect(render({ storageClasses: inDays })).rejects.toThrow(/'\/storageClasses\/0\/reclaimEvery'/);
    const encrypted = [{ name: 'a', reclaimEvery: '1h', encryptionSecret: { name: 'key', namespace: 'keys' } }];
    await expect(render({ storageClasses: encrypted })).rejects.toThrow(/does not go with encryptionSecret/);
  });
});
