import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import type { ServerIdentity } from '../../rpc/mod.ts';

// ITU-T X.690 (DER). Object identifiers are given as they are encoded.
const ECDSA_WITH_SHA256 = Buffer.from('06082a8648ce3d040302', 'hex');
const COMMON_NAME = Buffer.from('0603550403', 'hex');
const BASIC_CONSTRAINTS = Buffer.from('0603551d13', 'hex');
const TRUE = Buffer.from('0101ff', 'hex');
const Tag = {
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  utf8: 0x0c,
  time: 0x18,
  sequence: 0x30,
  set: 0x31,
  explicit0: 0xa0,
  explicit3: 0xa3,
};

/**
 * Makes a key (ECDSA, P-256) and a certificate that it has signed itself (RFC 5280, section 4.1). It never expires: whoever trusts it
 * trusts this certificate and no other, and gets it from the AoENode, which names the present one.
 * @param name the common name, for people
 */
export function selfSigned(name: string): ServerIdentity {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const algorithm = der(Tag.sequence, ECDSA_WITH_SHA256);
  const subject = der(Tag.sequence, der(Tag.set, der(Tag.sequence, COMMON_NAME, der(Tag.utf8, Buffer.from(name)))));
  // The clock of who reads it may be behind. 99991231235959Z: no end (section 4.1.2.5).
  const validity = der(Tag.sequence, ...['19700101000000Z', '99991231235959Z'].map((time) => der(Tag.time, Buffer.from(time))));
  const constraints = der(Tag.sequence, BASIC_CONSTRAINTS, TRUE, der(Tag.octetString, der(Tag.sequence, TRUE)));
  const serial = randomBytes(16);
  // Positive, and without a zero in front.
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  const body = der(
    Tag.sequence,
    der(Tag.explicit0, der(Tag.integer, Buffer.from([2]))),
    der(Tag.integer, serial),
    algorithm,
    subject,
    validity,
    subject,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(Tag.explicit3, der(Tag.sequence, constraints)),
  );
  const signature = der(Tag.bitString, Buffer.from([0]), sign('sha256', body, privateKey));
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    certificate: pem(der(Tag.sequence, body, algorithm, signature)),
  };
}

function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const length = content.length;
  const header = length < 0x80 ? [tag, length] : length < 0x100 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(header), content]);
}

function pem(bytes: Buffer): string {
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? [];
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n');
}
