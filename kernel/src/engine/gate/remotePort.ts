/**
 * @file The engine's port for other machines: each connection that the gate lets through gets a ZeroMQ socket of its own, with CURVE, so
 * that it is known which key a message came with, and one connection can be ended without the others. Knows frames, not messages.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import * as zmq from 'zeromq';
import { GATE_LIMITS, LIMITS, RavenError, RemoteProtocolError } from '@ravenlab/protocol';
import type { Peer, PortHandlers } from '../transport.js';
import type { ConnectionId, FromGate, GateThreadData, ToGate } from './gateMessages.js';
import { wireBytes } from './greeting.js';
import { Zap } from './zap.js';

export interface RemotePortOptions {
  readonly handlers: PortHandlers;
  readonly curve: { readonly publicKey: string; readonly secretKey: string };
  readonly host: string;
  /** For sockets; nobody else may enter it. */
  readonly folder: string;
  /** Whether a CURVE key (hex) may shake hands now. */
  readonly mayEnter: (publicKey: string) => boolean;
  readonly entry?: URL;
}

/** One connection. */
interface Line {
  readonly id: ConnectionId;
  readonly address: string;
  readonly socket: zmq.Dealer;
  readonly path: string;
  readonly handshake: NodeJS.Timeout;
  /** Set once it has shaken hands. */
  peer: Peer | null;
  /** Bytes of whole messages in all, and what of them the gate has yet to hear of. */
  delivered: number;
  untoldBytes: number;
  untoldFrames: number;
  stuck: NodeJS.Timeout | null;
}

const DOMAIN = 'line-';

export class RemotePort {
  private readonly options: RemotePortOptions;
  private readonly lines = new Map<ConnectionId, Line>();
  private readonly zap: Zap;
  private gate: Worker | null = null;
  private isClosing = false;

  constructor(options: RemotePortOptions) {
    this.options = options;
    this.zap = new Zap({
      decide: (domain, publicKey) => this.decide(domain, publicKey),
      onError: options.handlers.onError.bind(options.handlers),
    });
  }

  /** @param port 0 lets the system choose. @returns the port. Rejects with RavenError when it cannot be had. */
  async listen(port: number): Promise<number> {
    const { host, entry, handlers } = this.options;
    await this.zap.open();
    const workerData: GateThreadData = { host, port };
    const gate = new Worker(entry ?? new URL('./gateThread.js', import.meta.url), { workerData });
    this.gate = gate;
    return new Promise((resolve, reject) => {
      let isOpen = false;
      const fail = (error: Error): void => {
        if (this.isClosing) return;
        if (isOpen) handlers.onError(error);
        else reject(error);
      };
      gate.on('error', fail);
      gate.on('exit', () => {
        fail(new Error('the gate thread has ended'));
      });
      gate.on('message', (message: FromGate) => {
        if (message.kind === 'listening') {
          isOpen = true;
          resolve(message.port);
        } else if (message.kind === 'failed') {
          fail(new RavenError('cluster', `cannot listen on ${host}: ${message.message}`));
        } else {
          this.take(message);
        }
      });
    });
  }

  close(): void {
    this.isClosing = true;
    for (const line of [...this.lines.values()]) this.end(line);
    this.zap.close();
    void this.gate?.terminate();
  }

  private take(message: Exclude<FromGate, { kind: 'listening' | 'failed' }>): void {
    if (this.isClosing) return;
    if (message.kind === 'opened') {
      void this.open(message.connection, message.address);
      return;
    }
    const line = this.lines.get(message.connection);
    if (line === undefined) return;
    if (message.kind === 'closed') this.lose(line, null);
    else this.watch(line);
  }

  /** A socket for one connection. */
  private async open(id: ConnectionId, address: string): Promise<void> {
    const { curve, folder, handlers } = this.options;
    const socket = new zmq.Dealer({
      // No timeout: a send tells at once whether the peer is there.
      sendTimeout: 0,
      // Bounds are byte credits; a high-water mark counts messages.
      sendHighWaterMark: 0,
      receiveHighWaterMark: 0,
      linger: 0,
      heartbeatInterval: LIMITS.heartbeatMs,
      heartbeatTimeout: LIMITS.heartbeatTimeoutMs,
      maxMessageSize: LIMITS.socketFrameBytes,
      curveServer: true,
      curvePublicKey: curve.publicKey,
      curveSecretKey: curve.secretKey,
      zapDomain: `${DOMAIN}${String(id)}`,
    });
    const path = join(folder, `line-${String(id)}`);
    const handshake = setTimeout(() => {
      this.lose(line, null);
    }, LIMITS.helloTimeoutMs);
    const counts = { delivered: 0, untoldBytes: 0, untoldFrames: 0, stuck: null, peer: null };
    const line: Line = { id, address, socket, path, handshake, ...counts };
    this.lines.set(id, line);
    try {
      await socket.bind(`ipc://${path}`);
      this.say({ kind: 'route', connection: id, path });
      for await (const frames of socket) this.deliver(line, frames);
    } catch (error) {
      if (!this.lines.has(id) || this.isClosing) return;
      this.lose(line, null);
      handlers.onError(error instanceof Error ? error : new Error(String(error)));
    }
  }

  private decide(domain: string, publicKey: string): boolean {
    const line = this.lines.get(Number(domain.slice(DOMAIN.length)));
    // One handshake a socket: a second one would be another peer under the name of the first.
    if (line?.peer !== null) return false;
    if (!this.options.mayEnter(publicKey)) return false;
    clearTimeout(line.handshake);
    line.peer = this.peerOf(line, publicKey);
    this.options.handlers.onOpen(line.peer);
    return true;
  }

  private peerOf(line: Line, publicKey: string): Peer {
    return {
      key: `remote:${String(line.id)}`,
      origin: 'remote',
      publicKey,
      send: (frames) => {
        if (!this.lines.has(line.id)) return false;
        line.socket.send([...frames]).catch(() => {
          this.lose(line, null);
        });
        return true;
      },
      admit: () => {
        this.say({ kind: 'member', connection: line.id });
      },
      cut: () => {
        if (!this.lines.has(line.id)) return true;
        line.socket.linger = GATE_LIMITS.lingerMs;
        this.say({ kind: 'cut', connection: line.id });
        this.end(line);
        return true;
      },
    };
  }

  private deliver(line: Line, frames: Uint8Array[]): void {
    const { peer } = line;
    if (peer === null || !this.lines.has(line.id)) return;
    const bytes = wireBytes(frames);
    line.delivered += bytes;
    line.untoldBytes += bytes;
    line.untoldFrames += frames.length;
    const { tookEveryBytes, tookEveryFrames } = GATE_LIMITS;
    const isMuch = line.untoldBytes >= tookEveryBytes || line.untoldFrames >= tookEveryFrames;
    if (isMuch || line.stuck !== null) this.tell(line);
    this.options.handlers.onMessage(peer, frames);
  }

  /** The gate hears what has arrived whole. */
  private tell(line: Line): void {
    const { id: connection, untoldBytes: bytes, untoldFrames: frames } = line;
    line.untoldBytes = 0;
    line.untoldFrames = 0;
    this.say({ kind: 'took', connection, bytes, frames });
  }

  /** It has sent as much as it may without ending a message: it has a moment to show that this was only haste. */
  private watch(line: Line): void {
    this.tell(line);
    const before = line.delivered;
    if (line.stuck !== null) clearTimeout(line.stuck);
    line.stuck = setTimeout(() => {
      line.stuck = null;
      if (line.delivered > before) return;
      const { memberBytes, memberFrames } = GATE_LIMITS;
      const bound = `${String(memberBytes)} bytes or ${String(memberFrames)} frames`;
      this.lose(line, new RemoteProtocolError(`a message above ${bound} without an end`));
    }, GATE_LIMITS.stuckMs);
  }

  private lose(line: Line, error: Error | null): void {
    if (!this.lines.has(line.id)) return;
    this.say({ kind: 'cut', connection: line.id });
    this.end(line);
    if (line.peer !== null) this.options.handlers.onClose(line.peer, error);
  }

  private end(line: Line): void {
    this.lines.delete(line.id);
    clearTimeout(line.handshake);
    if (line.stuck !== null) clearTimeout(line.stuck);
    line.socket.close();
    rmSync(line.path, { force: true });
  }

  private say(message: ToGate): void {
    this.gate?.postMessage(message);
  }
}
