/**
 * @file One connection through the gate: bytes both ways, as fast as the slower side takes them. What came in and is not part of a
 * whole message yet is bounded: that is what an unfinished message can cost.
 */
import type { Socket } from 'node:net';
import { GATE_LIMITS } from '@ravenlab/protocol';
import { GREETING_BYTES, SIGNATURE_BYTES, mayGreet } from './greeting.js';

export interface PassageEvents {
  readonly now: () => number;
  /** It begins like a peer; it waits for its route. */
  readonly onGreeted: () => void;
  /** As much is under way as may be. */
  readonly onHeld: () => void;
  /** Once; `wasGreeted` when onGreeted was called. */
  readonly onClosed: (wasGreeted: boolean) => void;
}

export class Passage {
  /** What the doorman calls where it comes from. */
  address = '';
  private readonly outside: Socket;
  private readonly events: PassageEvents;
  private readonly bornMs: number;
  private inside: Socket | null = null;
  private timer: NodeJS.Timeout;
  private readonly head: Buffer[] = [];
  private received = 0;
  private taken = 0;
  private windowBytes: number = GATE_LIMITS.strangerBytes;
  private wasGreeted = false;
  private isHeld = false;
  private isCut = false;
  private isClosed = false;

  constructor(outside: Socket, events: PassageEvents) {
    this.outside = outside;
    this.events = events;
    this.bornMs = events.now();
    this.timer = setTimeout(() => {
      this.destroy();
    }, GATE_LIMITS.greetMs);
    outside.on('data', (bytes: Buffer) => {
      this.receive(bytes);
    });
    outside.on('drain', () => this.inside?.resume());
    outside.on('error', () => undefined);
    outside.on('close', () => {
      this.destroy();
    });
  }

  /** Connects it to the socket that serves it. */
  route(inside: Socket): void {
    this.inside = inside;
    for (const bytes of this.head.splice(0)) inside.write(bytes);
    inside.on('data', (bytes: Buffer) => {
      if (!this.outside.write(bytes)) inside.pause();
    });
    inside.on('drain', () => {
      this.goOn();
    });
    inside.on('error', () => undefined);
    // What was said last leaves before the end.
    inside.on('end', () => this.outside.end());
    inside.on('close', () => {
      if (!this.isCut) this.destroy();
    });
    this.goOn();
  }

  /** It is a worker's. */
  admit(): void {
    clearTimeout(this.timer);
    this.windowBytes = GATE_LIMITS.memberBytes;
    this.takeUp();
  }

  took(bytes: number): void {
    this.taken += bytes;
    this.takeUp();
  }

  cut(): void {
    if (this.isCut) return;
    this.isCut = true;
    this.outside.pause();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.destroy();
    }, GATE_LIMITS.lingerMs);
  }

  destroy(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    clearTimeout(this.timer);
    this.inside?.destroy();
    this.outside.destroy();
    this.events.onClosed(this.wasGreeted);
  }

  private receive(bytes: Buffer): void {
    if (this.isCut) return;
    if (this.received < GREETING_BYTES && !mayGreet(bytes, this.received)) {
      this.destroy();
      return;
    }
    this.received += bytes.length;
    if (this.inside === null) this.head.push(bytes);
    else if (!this.inside.write(bytes)) this.outside.pause();
    if (!this.wasGreeted && this.received >= SIGNATURE_BYTES) this.greet();
    if (this.inside === null && this.wasGreeted) this.outside.pause();
    if (this.underWay() <= this.windowBytes || this.isHeld) return;
    this.isHeld = true;
    this.outside.pause();
    this.events.onHeld();
  }

  private greet(): void {
    this.wasGreeted = true;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.destroy();
    }, GATE_LIMITS.strangerMs);
    this.events.onGreeted();
  }

  /** Bytes of messages that are not whole; handshake and heartbeats are forgiven at the rate at which they come. */
  private underWay(): number {
    const ageS = (this.events.now() - this.bornMs) / 1000;
    const idle = GATE_LIMITS.handshakeBytes + ageS * GATE_LIMITS.idleBytesPerSecond;
    return this.received - this.taken - idle;
  }

  private takeUp(): void {
    if (!this.isHeld || this.underWay() > this.windowBytes) return;
    this.isHeld = false;
    this.goOn();
  }

  private goOn(): void {
    if (this.isHeld || this.isCut || this.inside === null) return;
    if (!this.inside.writableNeedDrain) this.outside.resume();
  }
}
