/** @file Peers that mean harm: half-open, garbage, half a greeting, and messages that do not end. Real sockets, from many addresses. */
import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { platform } from 'node:os';
import * as zmq from 'zeromq';
import type { Invite, WorkerId } from '@ravenlab/protocol';
import {
  LIMITS,
  decodeEngineMessage,
  encodeWorkerMessage,
  inviteEndpoint,
  z85ToHex,
} from '@ravenlab/protocol';

/** How a CURVE client of ZMTP 3.1 begins. */
const GREETING = Buffer.concat([
  Buffer.from('ff00000000000000017f0301', 'hex'),
  Buffer.from('CURVE'.padEnd(20, '\0'), 'latin1'),
  Buffer.alloc(32),
]);

/** What a connection says, once; null says nothing. */
const OPENINGS: readonly (() => Buffer | null)[] = [
  () => null,
  () => randomBytes(64),
  () => Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'),
  () => GREETING.subarray(0, 10),
  () => GREETING,
  () => Buffer.concat([GREETING, randomBytes(200)]),
  // A frame of 2^62 bytes.
  () => Buffer.concat([GREETING, Buffer.from('064000000000000000', 'hex')]),
];

/** Linux answers to all of 127/8; elsewhere they all call from one address, and are limited as one. */
const ADDRESSES = platform() === 'linux' ? 200 : 1;

export interface Crowd {
  /** Connections that were made, and those that the engine has ended. */
  readonly made: number;
  readonly ended: number;
  close(): void;
}

/** Opens `count` connections, a few at a time so that the machine's own backlog is not what is measured. */
export async function crowd({ host, port }: Invite, count: number): Promise<Crowd> {
  const sockets: Socket[] = [];
  let ended = 0;
  for (let i = 0; i < count; i++) {
    const source =
      ADDRESSES === 1 ? {} : { localAddress: `127.0.1.${String(1 + (i % ADDRESSES))}` };
    const socket = connect({ host, port, ...source });
    const opening = OPENINGS[i % OPENINGS.length]?.() ?? null;
    socket.on('connect', () => {
      if (opening !== null) socket.write(opening);
    });
    socket.on('error', () => undefined);
    socket.on('close', () => ended++);
    // It listens, or it would not hear that it was ended.
    socket.resume();
    sockets.push(socket);
    if (i % 16 === 15) await new Promise((next) => setTimeout(next, 2));
  }
  return {
    made: count,
    get ended() {
      return ended;
    },
    close: () => {
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** One that knows an invite, and has a key of its own. */
export class Insider {
  private readonly socket: zmq.Dealer;
  private readonly invite: Invite;
  readonly workerId: WorkerId;
  /** Kinds of the engine's messages are not of interest; that they come is. */
  heard = 0;

  /** @param poses the worker that it says it is; itself unless given. */
  constructor(invite: Invite, poses?: WorkerId) {
    const { publicKey, secretKey } = zmq.curveKeyPair();
    this.invite = invite;
    this.workerId = poses ?? (z85ToHex(publicKey) as WorkerId);
    this.socket = new zmq.Dealer({
      ...{ linger: 0, sendHighWaterMark: 0, reconnectInterval: 1000 },
      ...{ curvePublicKey: publicKey, curveSecretKey: secretKey, curveServerKey: invite.serverKey },
    });
    this.socket.connect(inviteEndpoint(invite));
    void this.listen();
  }

  async join(): Promise<void> {
    await this.socket.send(
      encodeWorkerMessage({
        ...{ kind: 'hello', workerId: this.workerId, token: this.invite.token, incarnation: 1 },
        ...{ name: 'insider', held: null, payee: null },
        capabilities: {
          ...{ backend: 'onnx-cpu', device: 'an attacker', threads: 1, memoryBytes: 2 ** 30 },
          // So slow that nobody waits for it.
          ...{ gflops: 0.001, dtypes: ['float32'], bitClass: 'attacker' },
        },
      }),
    );
  }

  /** A message of so many MiB: more than the engine takes without its end is as good as one without an end. */
  async flood(mebibytes: number): Promise<void> {
    const frame = new Uint8Array(LIMITS.frameBytes);
    await this.socket.send(Array.from({ length: mebibytes }, () => frame));
  }

  /** A message of so many frames without a byte. */
  async dust(frames: number): Promise<void> {
    const nothing = new Uint8Array(0);
    await this.socket.send(Array.from({ length: frames }, () => nothing));
  }

  async say(frames: Uint8Array[]): Promise<void> {
    await this.socket.send(frames);
  }

  close(): void {
    this.socket.close();
  }

  /** Shows that it lives, or it would be gone for its silence and not for what it does. */
  private answer(frames: Uint8Array[]): void {
    const message = decodeEngineMessage(frames);
    if (!message.ok || message.value.kind !== 'ping') return;
    const { seq, sentMs } = message.value;
    const rest = { queuedUnits: 0, busyMs: 0, heldBytes: 0 };
    // While a flood is being sent, the socket takes nothing else.
    this.socket
      .send(encodeWorkerMessage({ kind: 'pong', seq, sentMs, ...rest }))
      .catch(() => undefined);
  }

  private async listen(): Promise<void> {
    try {
      for await (const frames of this.socket) {
        this.heard += frames.length > 0 ? 1 : 0;
        this.answer(frames);
      }
    } catch {
      // It was closed.
    }
  }
}
