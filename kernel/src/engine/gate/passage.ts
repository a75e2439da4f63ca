/**
 * @file One connection through the gate: bytes both ways, as fast as the slower side takes them. What came in and is not part of a
 * whole message yet is bounded, in bytes and in frames: that is what an unfinished message can cost in memory and in time.
 */
import type { Socket } from 'node:net';
import { GATE_LIMITS } from '@ravenlab/protocol/limits';
import { GREETING_BYTES, SIGNATURE_BYTES, mayGreet } from './greeting.js';
import { Backlog, FrameCounter } from './underWay.js';

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
  private inside: Socket | null = null;
  private timer: NodeJS.Timeout;
  private readonly head: Buffer[] = [];
  private received = 0;
  private readonly counter = new FrameCounter();
  private readonly bytes: Backlog;
  private readonly frames: Backlog;
  private windowBytes: number = GATE_LIMITS.strangerBytes;
  private windowFrames: number = GATE_LIMITS.strangerFrames;
  private wasGreeted = false;
  private isHeld = false;
  private isCut = false;
  private isClosed = false;

  constructor(outside: Socket, events: PassageEvents) {
    this.outside = outside;
    this.events = events;
    const bornMs = events.now();
    const { idleBytesPerSecond, handshakeBytes, idleFramesPerSecond, handshakeFrames } =
      GATE_LIMITS;
    this.bytes = new Backlog(idleBytesPerSecond, handshakeBytes, bornMs);
    this.frames = new Backlog(idleFramesPerSecond, handshakeFrames, bornMs);
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
    this.windowFrames = GATE_LIMITS.memberFrames;
    this.takeUp();
  }

  took({ bytes, frames }: { readonly bytes: number; readonly frames: number }): void {
    const now = this.events.now();
    this.bytes.take(bytes, now);
    this.frames.take(frames, now);
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
    const now = this.events.now();
    this.bytes.add(bytes.length, now);
    this.frames.add(this.counter.count(bytes), now);
    if (this.inside === null) this.head.push(bytes);
    else if (!this.inside.write(bytes)) this.outside.pause();
    if (!this.wasGreeted && this.received >= SIGNATURE_BYTES) this.greet();
    if (this.inside === null && this.wasGreeted) this.outside.pause();
    if (this.isHeld || this.fits()) return;
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

  private fits(): boolean {
    const now = this.events.now();
    return this.bytes.now(now) <= this.windowBytes && this.frames.now(now) <= this.windowFrames;
  }

  private takeUp(): void {
    if (!this.isHeld || !this.fits()) return;
    this.isHeld = false;
    this.goOn();
  }

  private goOn(): void {
    if (this.isHeld || this.isCut || this.inside === null) return;
    if (!this.inside.writableNeedDrain) this.outside.resume();
  }
}
