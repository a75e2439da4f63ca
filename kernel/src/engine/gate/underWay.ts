/**
 * @file What of a connection came in and is part of no whole message yet, as far as bytes on the wire can tell. CURVE hides which
 * frames end a message, so what arrived is counted, what was delivered is taken off, and what never is delivered (a handshake,
 * heartbeats) seeps away at the rate at which it comes. Pure bookkeeping.
 */
import { GREETING_BYTES } from './greeting.js';

const IS_LONG = 2;
const LONG_LENGTH_BYTES = 8;

/** Counts ZMTP frames (rfc.zeromq.org/spec/23) in the bytes that follow a greeting, however they are cut. */
export class FrameCounter {
  /** Bytes to pass by: the greeting, then the body of a frame. */
  private skip: number = GREETING_BYTES;
  private lengthBytes = 0;
  private length = 0;

  /** @returns frames that begin in these bytes. */
  count(bytes: Uint8Array): number {
    let frames = 0;
    for (let at = 0; at < bytes.length;) {
      if (this.skip > 0) {
        const passed = Math.min(this.skip, bytes.length - at);
        this.skip -= passed;
        at += passed;
        continue;
      }
      const byte = bytes[at++] ?? 0;
      if (this.lengthBytes === 0) {
        frames++;
        this.lengthBytes = (byte & IS_LONG) === 0 ? 1 : LONG_LENGTH_BYTES;
        this.length = 0;
        continue;
      }
      this.length = this.length * 256 + byte;
      if (--this.lengthBytes === 0) this.skip = this.length;
    }
    return frames;
  }
}

/** An amount that is added to and taken from, and loses so much a second by itself; never below zero. */
export class Backlog {
  private readonly perSecond: number;
  private amount: number;
  private atMs: number;

  /** @param forgiven what never counts, once */
  constructor(perSecond: number, forgiven: number, nowMs: number) {
    this.perSecond = perSecond;
    this.amount = -forgiven;
    this.atMs = nowMs;
  }

  add(count: number, nowMs: number): void {
    this.seep(nowMs);
    this.amount += count;
  }

  take(count: number, nowMs: number): void {
    this.seep(nowMs);
    if (this.amount > 0) this.amount = Math.max(0, this.amount - count);
  }

  now(nowMs: number): number {
    this.seep(nowMs);
    return Math.max(0, this.amount);
  }

  /** Time makes up for what came, never for what may come: an old connection is allowed no more than a young one. */
  private seep(nowMs: number): void {
    const seconds = Math.max(0, nowMs - this.atMs) / 1000;
    this.atMs = nowMs;
    if (this.amount > 0) this.amount = Math.max(0, this.amount - seconds * this.perSecond);
  }
}
