import { Code, RpcError } from '../../../rpc/status.ts';

/** The key in the Secret, as Ceph-CSI and Scaleway's driver call it, too. */
export const PASSPHRASE_KEY = 'encryptionPassphrase';
const MAX_BYTES = 4096;
/** What stands in a decoded text for bytes that are no UTF-8 (protobufjs): two such keys would be the same. */
const NOT_TEXT = '\ufffd';

/** A passphrase that no log, error or JSON shows. */
export class Passphrase {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  reveal(): string {
    return this.#text;
  }
}

/**
 * The passphrase in the secrets of a request.
 * @param name how messages name the volume
 * @throws RpcError INVALID_ARGUMENT when it is missing, empty, too long, or not text
 */
export function passphraseOf(name: string, secrets: Readonly<Record<string, string>> | null | undefined): Passphrase {
  const text = secrets?.[PASSPHRASE_KEY];
  const refuse = (problem: string): never => {
    throw new RpcError(Code.INVALID_ARGUMENT, `${name} is encrypted, and ${problem}`);
  };
  if (text === undefined)
    return refuse(
      `the call has no secret ${PASSPHRASE_KEY}: the StorageClass names the Secret with csi.storage.k8s.io/node-stage-secret-name and -namespace, and with node-publish-secret-name and -namespace`,
    );
  if (text === '') return refuse(`${PASSPHRASE_KEY} in its Secret is empty`);
  if (Buffer.byteLength(text) > MAX_BYTES) return refuse(`${PASSPHRASE_KEY} in its Secret is longer than ${MAX_BYTES} bytes`);
  if (text.includes(NOT_TEXT))
    return refuse(`${PASSPHRASE_KEY} in its Secret is not UTF-8 text: encode a binary key, with base64 for example`);
  return new Passphrase(text);
}
