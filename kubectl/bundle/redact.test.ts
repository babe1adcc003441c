import { Redactor } from './redact.ts';

describe('Redactor', () => {
  const redactor = () => new Redactor({ namespaces: ['shop', 'default', 'aoe'], claims: ['data', 'data-web-0'], pods: ['web-0', 'web'] });

  it('replaces each name by one pseudonym, as a word, wherever it stands', () => {
    const each = redactor();
    expect(each.text('pod shop/web-0 uses shop/data-web-0; web. "data"')).toBe(
      'pod namespace-2/pod-2 uses namespace-2/claim-2; pod-1. "claim-1"',
    );
    expect(each.text('database, web-1, webshop, Shop')).toBe('database, web-1, webshop, Shop');
    expect(each.text('web.shop.svc.cluster.local')).toBe('pod-1.namespace-2.svc.cluster.local');
  });

  it('leaves what tells nothing: known namespaces, names of API groups and drivers', () => {
    expect(redactor().text('default/x, aoe.dev/v1alpha1, data.aoe.dev, kubernetes.io/data, storage.k8s.io')).toBe(
      'default/x, aoe.dev/v1alpha1, data.aoe.dev, kubernetes.io/data, storage.k8s.io',
    );
  });

  it('replaces MAC addresses, however they are written', () => {
    const each = redactor();
    expect(each.text('02:00:5e:10:00:01 02:00:5E:10:00:01 02:00:5e:10:00:02')).toBe('mac-1 mac-1 mac-2');
    expect(each.text('mac 02005e100001, uid aaaaaaaa-bbbb-cccc-dddd-02005e100001, 123456789012')).toBe(
      'mac mac-1, uid aaaaaaaa-bbbb-cccc-dddd-02005e100001, 123456789012',
    );
    expect(each.names).toMatchObject({ 'mac-1': '02:00:5e:10:00:01', 'namespace-2': 'shop' });
  });

  it('gives no pseudonym that is a name itself', () => {
    const each = new Redactor({ namespaces: [], claims: ['a', 'claim-1', 'b'], pods: ['claim-2'] });
    expect(each.text('a claim-1 b claim-2')).toBe('claim-3 claim-5 claim-4 pod-1');
    expect(each.names).toStrictEqual({ 'claim-3': 'a', 'claim-4': 'b', 'claim-5': 'claim-1', 'pod-1': 'claim-2' });
  });

  it('replaces values of objects, and no names of fields', () => {
    expect(redactor().value({ data: 'data', web: [{ x: 'shop/data', n: 1, none: null }] })).toStrictEqual({
      data: 'claim-1',
      web: [{ x: 'namespace-2/claim-1', n: 1, none: null }],
    });
  });
});
