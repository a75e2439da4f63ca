/**
 * @file Which kernel this engine works for: one at a time, each with a number. A kernel that comes back after a crash of the
 * engine is the same one and is told what it need not ask again; one that vanished is waited for.
 */
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import type { RequestPoint } from '../core/journal/paidBook.js';
import type { ToKernel } from './kernelWire.js';

export interface KernelSessionsOptions {
  /** What the restored image knows of: whose request it ends with. Null without an image. */
  readonly restored: { readonly client: string; readonly point: RequestPoint } | null;
  /** Highest session that an earlier life of the engine knew. */
  readonly lastSession: number;
  readonly boot: number;
  /** Whether images are made: without them a kernel has nothing to replay onto. */
  readonly isJournaled: boolean;
  /** Waits this long for a kernel when there is none; ms. */
  readonly lingerMs: number;
  /** Whether something is still being worked on. */
  readonly isBusy: () => boolean;
  readonly onAttached: (session: number) => void;
  readonly onDetached: () => void;
  /** No kernel came. */
  readonly onAbandoned: () => void;
}

/** Work in flight is looked at this often when it holds up the end; ms. */
const BUSY_POLL_MS = 250;

export class KernelSessions {
  private readonly options: KernelSessionsOptions;
  private current: { readonly client: string; readonly session: number } | null = null;
  private isConnected = false;
  private lastSession: number;
  private durable: RequestPoint | null;
  private timer: NodeJS.Timeout | null = null;

  constructor(options: KernelSessionsOptions) {
    this.options = options;
    this.lastSession = options.lastSession;
    this.durable = options.restored?.point ?? null;
  }

  get session(): number {
    return this.current?.session ?? 0;
  }

  /** Name of the kernel whose session this is; '' for one that an earlier life of the engine knew. */
  clientOf(session: number): string {
    if (session === this.current?.session) return this.current.client;
    const { restored } = this.options;
    return restored?.point.session === session ? restored.client : '';
  }

  /** What the journal holds of the current kernel's requests. */
  get watermark(): number {
    return this.durable?.session === this.session ? this.durable.request : 0;
  }

  /** A kernel introduces itself. @returns 'busy' while another one is connected. */
  hello(
    client: string,
    session: number,
  ): Extract<ToKernel, { kind: 'welcome' }> | { readonly kind: 'busy' } {
    if (this.isConnected && this.current?.client !== client) return { kind: 'busy' };
    if (this.current?.client !== client) {
      this.current = { client, session: this.sessionOf(client, session) };
      this.lastSession = Math.max(this.lastSession, this.current.session);
    }
    this.isConnected = true;
    this.stopTimer();
    this.options.onAttached(this.current.session);
    const { boot, isJournaled } = this.options;
    return {
      kind: 'welcome',
      pid: process.pid,
      session: this.current.session,
      watermark: this.watermark,
      boot,
      isJournaled,
    };
  }

  settle(point: RequestPoint): void {
    this.durable = point;
  }

  /** The connection ended and the kernel did not say goodbye. */
  gone(): void {
    if (!this.isConnected) return;
    this.isConnected = false;
    this.options.onDetached();
    this.wait(this.options.lingerMs, this.options.lingerMs);
  }

  /** Counts from now until a first kernel comes: whoever started this process is about to. */
  expect(): void {
    this.wait(Math.max(this.options.lingerMs, ENGINE_LIMITS.engineStartMs), 0);
  }

  close(): void {
    this.stopTimer();
  }

  /** Its number from before a crash of this engine, unless that is another kernel's by now. */
  private sessionOf(client: string, session: number): number {
    const { restored } = this.options;
    if (restored?.client === client) return restored.point.session;
    const isTaken =
      session === 0 || session < this.lastSession || session === restored?.point.session;
    return isTaken ? this.lastSession + 1 : session;
  }

  /** @param patienceMs what work in flight may add. */
  private wait(delayMs: number, patienceMs: number): void {
    this.stopTimer();
    this.timer = setTimeout(() => {
      if (patienceMs > 0 && this.options.isBusy()) {
        this.wait(BUSY_POLL_MS, patienceMs - BUSY_POLL_MS);
      } else {
        this.options.onAbandoned();
      }
    }, delayMs);
  }

  private stopTimer(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
  }
}
