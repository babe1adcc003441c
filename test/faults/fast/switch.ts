import { BROADCAST_MAC, Command, Flag, type FrameSocket, parseFrame } from '../../../aoe/mod.ts';
import { ATA_FAILURE, AtaFlag } from '../../../aoe/wire/ata.ts';
import type { Rights } from '../model/rights.ts';
import { CLEAR, fate, type Weather } from '../model/weather.ts';

/** A frame that the switch keeps for a while. */
interface Held {
  timer: NodeJS.Timeout;
  deliver: () => void;
}

/** A host's place at the switch: its cable, with the weather on it, and the frames that are under way. */
export class Port {
  readonly mac: string;
  weather: Weather = CLEAR;
  /** The cable is pulled. What is under way beyond it still arrives. */
  down = false;
  /** The far end of the target's cable that it shares with others. */
  readonly uplink: FrameSocket;
  readonly #switch: Switch;
  readonly #next: () => number;
  readonly #handlers = new Set<(frame: Uint8Array) => void>();
  readonly #held = new Set<Held>();

  constructor(mac: string, uplink: FrameSocket, owner: Switch, next: () => number) {
    this.mac = mac;
    this.uplink = uplink;
    this.#switch = owner;
    this.#next = next;
  }

  /** A socket of the host's; each of them hears everything that arrives. */
  socket(): FrameSocket {
    let handler = (_frame: Uint8Array): void => {};
    const hear = (frame: Uint8Array): void => handler(frame);
    this.#handlers.add(hear);
    return {
      interfaceName: this.uplink.interfaceName,
      mac: this.mac,
      send: (frame) => this.#pass(this.weather.repliesOnly ? CLEAR : this.weather, () => this.deliver(frame)),
      onFrame: (next) => {
        handler = next;
      },
      drain: () => this.uplink.drain(),
      close: () => this.#handlers.delete(hear),
    };
  }

  /** A frame of the target's for this host. */
  receive(frame: Uint8Array): void {
    this.#pass(this.weather, () => {
      for (const handler of this.#handlers) handler(frame);
    });
  }

  /** Puts a frame on the target's cable now, whatever the weather. */
  deliver(frame: Uint8Array): void {
    this.#switch.watch(frame);
    this.uplink.send(frame);
  }

  /** Delivers at once all that is under way. */
  drain(): void {
    for (const { timer, deliver } of this.#held) {
      clearTimeout(timer);
      deliver();
    }
    this.#held.clear();
  }

  #pass(weather: Weather, deliver: () => void): void {
    if (this.down) return;
    for (const delayMs of fate(weather, this.#next)) {
      if (delayMs === 0) {
        deliver();
        continue;
      }
      const arrive = (): void => {
        this.#held.delete(held);
        deliver();
      };
      const held: Held = { timer: setTimeout(arrive, delayMs), deliver };
      this.#held.add(held);
    }
  }
}

/** Carries frames between fake hosts and the target's cables, and looks at each write, and each answer to one, on them. */
export class Switch {
  readonly #rights: Rights;
  readonly #next: () => number;
  readonly #ports = new Map<string, Port>();

  constructor(rights: Rights, next: () => number) {
    this.#rights = rights;
    this.#next = next;
  }

  /** @param uplink the far end of one of the target's cables; hosts may share it */
  connect(mac: string, uplink: FrameSocket): Port {
    const port = new Port(mac, uplink, this, this.#next);
    this.#ports.set(mac, port);
    uplink.onFrame((frame) => this.#fromTarget(uplink, frame));
    return port;
  }

  /** A frame is about to reach the target. */
  watch(frame: Uint8Array): void {
    const parsed = parseFrame(frame);
    if (parsed?.header.command !== Command.Ata || ((parsed.argument[0] ?? 0) & AtaFlag.Write) === 0) return;
    this.#rights.arrives(parsed.header.source, parsed.header.tag);
  }

  #fromTarget(uplink: FrameSocket, frame: Uint8Array): void {
    const parsed = parseFrame(frame);
    if (!parsed) return;
    const { destination, command, flags, tag } = parsed.header;
    if (destination === BROADCAST_MAC) {
      for (const port of this.#ports.values()) if (port.uplink === uplink) port.receive(frame);
      return;
    }
    const failed = (flags & Flag.Error) !== 0 || ((parsed.argument[3] ?? 0) & ATA_FAILURE) !== 0;
    if (command === Command.Ata && !failed) this.#rights.answered(destination, tag);
    this.#ports.get(destination)?.receive(frame);
  }
}
