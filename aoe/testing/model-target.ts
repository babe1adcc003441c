import type { LockRequest } from '../lock/lock.ts';
import { sameBytes } from '../lock/text.ts';
import { ConfigCommand, emitConfig, parseConfig, replacementOf } from '../wire/config.ts';
import { Command, ErrorCode, emitFrame, Flag, padFrame, parseFrame } from '../wire/header.ts';

/** A target's config string and nothing else: what the lock relies on. */
export class ModelTarget {
  readonly mac: string;
  readonly #testAndReplace: boolean;
  string: Uint8Array = new Uint8Array();

  constructor(mac: string, { testAndReplace = true }: { testAndReplace?: boolean } = {}) {
    this.mac = mac;
    this.#testAndReplace = testAndReplace;
  }

  /** The AoE error of the answer; 0 is success. */
  change(request: LockRequest): number {
    switch (request.kind) {
      case 'query':
        return 0;
      case 'setIfEmpty':
        if (this.string.length > 0) return ErrorCode.ConfigStringPresent;
        break;
      case 'testAndReplace':
        if (!this.#testAndReplace) return ErrorCode.BadArgument;
        if (!sameBytes(this.string, request.old)) return ErrorCode.ConfigStringPresent;
        break;
      case 'force':
        break;
    }
    this.string = request.next.slice();
    return 0;
  }

  /** Answers a frame as a target with this shelf and slot does; undefined when it is silent. */
  answer(bytes: Uint8Array, shelf: number, slot: number): Uint8Array | undefined {
    const frame = parseFrame(bytes);
    if (!frame || frame.header.command !== Command.Config || frame.header.shelf !== shelf || frame.header.slot !== slot) return undefined;
    const argument = parseConfig(frame.argument);
    if (!argument) return undefined;
    const to = { interfaceName: '', mac: this.mac };
    const { string: next, command } = argument;
    const requests: Record<number, LockRequest> = {
      [ConfigCommand.Read]: { kind: 'query' },
      [ConfigCommand.SetIfEmpty]: { kind: 'setIfEmpty', to, next },
      [ConfigCommand.Force]: { kind: 'force', to, next },
      [ConfigCommand.TestAndReplace]: { kind: 'testAndReplace', to, old: next, next: replacementOf(argument) ?? new Uint8Array() },
    };
    const request = requests[command];
    const error = request ? this.change(request) : ErrorCode.BadArgument;
    const { header } = frame;
    const flags = Flag.Response | (error === 0 ? 0 : Flag.Error);
    return padFrame(
      emitFrame({
        header: { ...header, destination: header.source, source: this.mac, flags, error },
        argument: emitConfig({ ...argument, bufferCount: 16, firmware: 1, sectors: 2, string: this.string, rest: new Uint8Array() }),
      }),
    );
  }
}
