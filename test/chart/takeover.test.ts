import { parseTakeoverAfter } from '../../api/takeover/after.ts';
import { container, type Manifest, of, render } from './helm.ts';

describe('values of automatic takeover', () => {
  it('let the operator take volumes over, with its rights and the heartbeats of all nodes, only where a value needs that', async () => {
    const rightsOf = (manifests: Manifest[]) =>
      manifests
        .filter(({ kind }) => kind === 'ClusterRole')
        .flatMap(({ rules }) => rules)
        .filter(({ resources, verbs }: Manifest) => resources.includes('pods') && verbs.includes('delete'));
    for (const values of [{}, { storageClasses: [{ name: 'c' }, { name: 'd', takeoverAfter: 'Never' }] }, { storageClasses: [] }]) {
      const off = await render(values);
      expect(rightsOf(off), JSON.stringify(values)).toStrictEqual([]);
      expect(off.filter(({ metadata }) => metadata.name === 'aoe-csi-takeover')).toStrictEqual([]);
      const args = ['operator', 'csi-controller', 'csi-node'].flatMap((name) => container(off, name).args);
      expect(args.join(' '), JSON.stringify(values)).not.toMatch(/takeover|heartbeat/);
    }
    for (const [values, flag] of [
      [{ takeover: { enabled: true } }, 'Never'],
      [{ takeover: { after: '30s' } }, '30s'],
      [{ takeover: { enabled: true, after: '30s' } }, '30s'],
      [{ storageClasses: [{ name: 'c', takeoverAfter: '60s' }, { name: 'd' }] }, 'Never'],
    ] as const) {
      const on = await render(values);
      expect(rightsOf(on), JSON.stringify(values)).toHaveLength(1);
      expect(of(on, 'ClusterRoleBinding', 'aoe-csi-takeover').subjects[0].name).toBe('aoe-csi-controller');
      expect(container(on, 'operator').args).toContain(`--takeover-after=${flag}`);
      expect(container(on, 'csi-controller').args).toContain('--takeover=on');
      expect(container(on, 'csi-node').args).toContain('--heartbeat=5');
    }
    for (const after of ['30', '5s', '1m', '19s']) await expect(render({ takeover: { after } })).rejects.toThrow(/after/);
  });

  it('give a StorageClass its own time of takeovers, as the programs read it', async () => {
    const storageClasses = ['20s', '9999s', 'Never', undefined].map((takeoverAfter) => ({
      name: `c${takeoverAfter ?? ''}`.toLowerCase(),
      takeoverAfter,
    }));
    const manifests = await render({ storageClasses });
    for (const { name, takeoverAfter } of storageClasses)
      expect(of(manifests, 'StorageClass', name).parameters.takeoverAfter).toBe(takeoverAfter);
    for (const text of ['30', '5s', '1m', '10000s', 'never', '']) {
      expect(() => parseTakeoverAfter(text)).toThrow();
      await expect(render({ storageClasses: [{ name: 'c', takeoverAfter: text }] }), text).rejects.toThrow(/takeoverAfter/);
    }
  });
});
