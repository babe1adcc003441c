import { closeSync, readFileSync } from 'node:fs';
import { endianness } from 'node:os';
import { ETHERTYPE, Flag } from '../wire/header.ts';
import { addressOf, bind, lastError, recv, send, setsockopt, socket } from './libc.ts';
import { Poller } from './poller.ts';

const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_NONBLOCK_CLOEXEC = 0o2004000;
const SOL_SOCKET = 1;
const SO_ATTACH_FILTER = 26;
const SO_RCVBUF = 8;
const SOL_PACKET = 263;
const PACKET_ADD_MEMBERSHIP = 1;
const PACKET_MR_PROMISC = 1;
const MSG_DONTWAIT = 0x40;
const RECEIVE_BUFFER = 1 << 20;
const MAX_FRAME = 65_536;

/** Tags of programs carry this bit: the Linux aoe driver ignores such answers, and never sets it in its own tags. */
export const USERLAND_TAG = 0x8000_0000;

/**
 * Classic BPF: AoE, response flag set, userland tag. The last condition keeps the kernel driver's own traffic, up to gigabits per second,
 * out of the program.
 */
const FILTER: readonly (readonly [code: number, jumpTrue: number, jumpFalse: number, value: number])[] = [
  [0x28, 0, 0, 12], // load the half-word at 12: EtherType
  [0x15, 0, 5, ETHERTYPE], // equal, or drop
  [0x30, 0, 0, 14], // load the byte at 14: version and flags
  [0x45, 0, 3, Flag.Response], // any bit set, or drop
  [0x30, 0, 0, 20], // load the byte at 20: highest byte of the tag
  [0x45, 0, 1, USERLAND_TAG >>> 24],
  [0x06, 0, 0, MAX_FRAME], // accept the whole frame
  [0x06, 0, 0, 0], // drop
];

/** The same, for answers with any tag. */
const EVERYTHING: typeof FILTER = [
  [0x28, 0, 0, 12],
  [0x15, 0, 3, ETHERTYPE],
  [0x30, 0, 0, 14],
  [0x45, 0, 1, Flag.Response],
  [0x06, 0, 0, MAX_FRAME],
  [0x06, 0, 0, 0],
];

/** A raw Ethernet socket could not be opened or used; `code` is the name of the errno. */
export class SocketError extends Error {
  readonly code: string;
  constructor(call: string, interfaceName: string, code: string) {
    const advice = code === 'EPERM' || code === 'EACCES' ? ' (CAP_NET_RAW is needed)' : '';
    super(`${call} on interface ${interfaceName}: ${code}${advice}`);
    this.name = 'SocketError';
    this.code = code;
  }
}

/** What the initiator needs from an interface. Real ones are {@link RawSocket}s; tests pass a simulated network. */
export interface FrameSocket {
  readonly interfaceName: string;
  readonly mac: string;
  /** Sends a frame. It may be lost, as on any network. */
  send(frame: Uint8Array): void;
  /** Sets the function that receives each frame. */
  onFrame(handler: (frame: Uint8Array) => void): void;
  /** Receives at once what has arrived. Whoever takes silence for an answer calls it first: frames may not have been read yet. */
  drain(): void;
  close(): void;
}

const poller = new Poller();
/** Each frame is read into it, and copied out before the next one. */
const received = new Uint8Array(MAX_FRAME);

/**
 * An AF_PACKET socket on one interface that receives the answers to AoE requests of programs. Open it for an exchange, and close it
 * afterwards.
 * @example
 * using socket = RawSocket.open('eth0');
 * socket.onFrame((frame) => console.log(frame.length));
 */
export class RawSocket implements FrameSocket {
  readonly interfaceName: string;
  readonly mac: string;
  #fd: number;
  #handler: (frame: Uint8Array) => void = () => {};
  readonly #stop: () => void;

  private constructor(interfaceName: string, mac: string, fd: number) {
    this.interfaceName = interfaceName;
    this.mac = mac;
    this.#fd = fd;
    this.#stop = poller.add(fd, () => this.drain());
  }

  /**
   * With `everything`, answers with any tag and to any host arrive. A test that simulates several hosts needs them.
   * @throws SocketError when the interface does not exist or the right to open raw sockets is missing
   */
  static open(interfaceName: string, { everything = false }: { everything?: boolean } = {}): RawSocket {
    let index: number;
    let mac: string;
    try {
      index = Number(readFileSync(`/sys/class/net/${interfaceName}/ifindex`, 'utf8'));
      mac = readFileSync(`/sys/class/net/${interfaceName}/address`, 'utf8').trim();
    } catch {
      throw new SocketError('open', interfaceName, 'ENODEV');
    }
    // Protocol 0: nothing is received before the filter is in place and bind() names the protocol.
    const fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK_CLOEXEC, 0);
    if (fd < 0) throw new SocketError('socket', interfaceName, lastError());
    const check = (call: string, result: number): void => {
      if (result >= 0) return;
      const code = lastError();
      closeSync(fd);
      throw new SocketError(call, interfaceName, code);
    };
    const { program, keep } = filterProgram(everything ? EVERYTHING : FILTER);
    check('attach filter', setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, program, program.length));
    void keep;
    const size = Buffer.alloc(4);
    size.writeInt32LE(RECEIVE_BUFFER);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, size, size.length);
    const address = Buffer.alloc(20);
    address.writeUInt16LE(AF_PACKET, 0);
    address.writeUInt16BE(ETHERTYPE, 2);
    address.writeInt32LE(index, 4);
    check('bind', bind(fd, address, address.length));
    if (everything) {
      const membership = Buffer.alloc(16);
      membership.writeInt32LE(index, 0);
      membership.writeUInt16LE(PACKET_MR_PROMISC, 4);
      check('listen to all on', setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, membership, membership.length));
    }
    return new RawSocket(interfaceName, mac, fd);
  }

  /** A frame that the interface does not accept now (full queue, link down) is lost, as on the wire. */
  send(frame: Uint8Array): void {
    if (this.#fd < 0 || send(this.#fd, frame, frame.length, MSG_DONTWAIT) >= 0) return;
    const code = lastError();
    if (!['EAGAIN', 'ENOBUFS', 'ENETDOWN', 'ENETUNREACH', 'ENXIO', 'ENODEV'].includes(code)) {
      throw new SocketError('send', this.interfaceName, code);
    }
  }

  onFrame(handler: (frame: Uint8Array) => void): void {
    this.#handler = handler;
  }

  drain(): void {
    for (let failures = 0; this.#fd >= 0; ) {
      const length: number = recv(this.#fd, received, received.length, MSG_DONTWAIT);
      if (length >= 0) this.#handler(received.slice(0, length));
      // EAGAIN: all read. ENETDOWN: reported once after the interface went down, before the frames that have arrived.
      else if (lastError() === 'EAGAIN' || ++failures > 1) return;
    }
  }

  close(): void {
    if (this.#fd < 0) return;
    this.#stop();
    closeSync(this.#fd);
    this.#fd = -1;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** struct sock_fprog with a pointer to the filter; `keep` holds the memory it points to. */
function filterProgram(steps: typeof FILTER): { program: Buffer; keep: Buffer } {
  if (endianness() !== 'LE') throw new Error('only little-endian machines are supported');
  const keep = Buffer.alloc(steps.length * 8);
  for (const [index, [code, jumpTrue, jumpFalse, value]] of steps.entries()) {
    keep.writeUInt16LE(code, index * 8);
    keep.writeUInt8(jumpTrue, index * 8 + 2);
    keep.writeUInt8(jumpFalse, index * 8 + 3);
    keep.writeUInt32LE(value, index * 8 + 4);
  }
  const program = Buffer.alloc(16);
  program.writeUInt16LE(steps.length, 0);
  program.writeBigUInt64LE(addressOf(keep), 8);
  return { program, keep };
}
