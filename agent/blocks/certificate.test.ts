import { createPrivateKey, X509Certificate } from 'node:crypto';
import { selfSigned } from './certificate.ts';

it('makes a certificate that its own key has signed, that never expires, and that is another one each time', () => {
  const made = Array.from({ length: 50 }, () => selfSigned('aoe-csi-agent storage-1'));
  for (const { key, certificate } of made) {
    const parsed = new X509Certificate(certificate);
    expect(parsed.verify(parsed.publicKey)).toBe(true);
    expect(parsed.checkPrivateKey(createPrivateKey(key))).toBe(true);
    expect(parsed.checkIssued(parsed)).toBe(true);
    expect([parsed.subject, parsed.ca]).toStrictEqual(['CN=aoe-csi-agent storage-1', true]);
    expect([parsed.validFromDate.getTime(), parsed.validToDate.getUTCFullYear()]).toStrictEqual([0, 9999]);
  }
  expect(new Set(made.map(({ certificate }) => new X509Certificate(certificate).serialNumber)).size).toBe(50);
});
