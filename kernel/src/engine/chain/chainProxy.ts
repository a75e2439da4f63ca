/**
 * @file The chain as the engine's loop sees it: a thread that does the work, its last word remembered. A thread that crashes is told as a
 * problem and started again; training never stops for it.
 */
import { Worker } from 'node:worker_threads';
import { CHAIN_LIMITS, ChainError } from '@ravenlab/protocol';
import type { Address, JobId } from '@ravenlab/protocol';
import { NO_LIMITS } from '../../core/chain/spendCaps.js';
import type { SpendLimits } from '../../core/chain/spendCaps.js';
import type {
  ChainCall,
  ChainCalls,
  ChainRequest,
  ChainResponse,
  ChainThreadData,
} from './chainMessages.js';
import type { ChainPhase, ChainService, ChainStatus, LaneOnChain } from './chainService.js';

export interface ChainProxyOptions extends ChainThreadData {
  readonly log: (text: string) => void;
  /** Before the thread is started, so that the first cell has the machine for itself; ms. */
  readonly delayMs?: number;
  /** Compiled entry of the thread; for tests. */
  readonly entry?: string | URL;
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: ChainError) => void;
}

/** What is known before a chain is. */
export function emptyStatus(phase: ChainPhase, problem: string | null = null): ChainStatus {
  return {
    ...{ phase, problem, isDisputed: false, network: null, escrow: null, token: null, job: null },
    ...{ transactions: [], localPayees: [], canPay: false, limits: NO_LIMITS },
    settling: null,
  };
}

export class ChainProxy implements ChainService {
  private readonly options: ChainProxyOptions;
  private thread: Worker | null = null;
  private timer: NodeJS.Timeout | null = null;
  private known = emptyStatus('starting');
  private readonly lanes = new Map<Address, LaneOnChain>();
  private readonly changeListeners = new Set<(status: ChainStatus) => void>();
  private readonly laneListeners = new Set<(lane: LaneOnChain) => void>();
  private readonly waiting = new Map<number, Waiting>();
  private nextId = 1;
  private retryMs: number = CHAIN_LIMITS.retryMinMs;
  private isClosing = false;

  constructor(options: ChainProxyOptions) {
    this.options = options;
    this.startIn(options.delayMs ?? CHAIN_LIMITS.startDelayMs);
  }

  status(): ChainStatus {
    return this.known;
  }

  onChange(listener: (status: ChainStatus) => void): () => void {
    this.changeListeners.add(listener);
    return () => this.changeListeners.delete(listener);
  }

  onLane(listener: (lane: LaneOnChain) => void): () => void {
    this.laneListeners.add(listener);
    for (const lane of this.lanes.values()) listener(lane);
    return () => this.laneListeners.delete(listener);
  }

  readonly signVoucher: ChainCalls['signVoucher'] = (voucher) => this.call('signVoucher', voucher);
  readonly isOwnVoucher: ChainCalls['isOwnVoucher'] = (voucher) =>
    this.call('isOwnVoucher', voucher);
  readonly isHello: ChainCalls['isHello'] = (claim, signature) =>
    this.call('isHello', claim, signature);
  readonly signServer: ChainCalls['signServer'] = (serverKey) => this.call('signServer', serverKey);
  readonly reserve: ChainCalls['reserve'] = (caps) => this.call('reserve', caps);
  readonly settle: ChainCalls['settle'] = (lanes, head) => this.call('settle', lanes, head);
  readonly deposit: ChainCalls['deposit'] = (amount) => this.call('deposit', amount);
  readonly extend: ChainCalls['extend'] = (expiry) => this.call('extend', expiry);
  readonly refund: ChainCalls['refund'] = () => this.call('refund');
  readonly setLimits: ChainCalls['setLimits'] = (limits: SpendLimits) =>
    this.call('setLimits', limits);

  async close(): Promise<void> {
    if (this.isClosing) return;
    this.isClosing = true;
    if (this.timer !== null) clearTimeout(this.timer);
    const { thread } = this;
    if (thread === null) return;
    // What was asked before it is answered before it, or never.
    await this.call('close').catch(() => undefined);
    this.rejectAll('the engine ends');
    await thread.terminate();
  }

  private startIn(delayMs: number): void {
    this.timer = setTimeout(() => {
      this.timer = null;
      this.start();
    }, delayMs);
    this.timer.unref();
  }

  private start(): void {
    const { choice, home, folder, owner, entry } = this.options;
    const workerData: ChainThreadData = { choice, home, folder, owner };
    const thread = new Worker(entry ?? new URL('./chainThread.js', import.meta.url), {
      workerData,
    });
    this.thread = thread;
    thread.on('message', (response: ChainResponse) => {
      this.take(response);
    });
    thread.on('error', (error) => {
      this.crashed(String(error));
    });
    thread.on('exit', (code) => {
      if (this.thread === thread) this.crashed(`it ended with code ${String(code)}`);
    });
  }

  private crashed(reason: string): void {
    if (this.thread === null || this.isClosing) return;
    this.thread = null;
    const text = `the chain's thread crashed (${reason}); it is started again`;
    this.options.log(text);
    this.rejectAll(text);
    this.changed({ ...this.known, phase: 'problem', problem: text });
    this.startIn(this.retryMs);
    this.retryMs = Math.min(2 * this.retryMs, CHAIN_LIMITS.retryMaxMs);
  }

  private take(response: ChainResponse): void {
    switch (response.kind) {
      case 'status':
        if (response.status.phase === 'ready') this.retryMs = CHAIN_LIMITS.retryMinMs;
        this.changed(response.status);
        return;
      case 'lanes':
        for (const lane of response.lanes) {
          this.lanes.set(lane.payee, lane);
          for (const listener of this.laneListeners) listener(lane);
        }
        return;
      case 'log':
        this.options.log(response.text);
        return;
      case 'done':
        this.settled(response.id)?.resolve(response.value);
        return;
      case 'failed': {
        const { message, fault, retryable } = response.error;
        this.settled(response.id)?.reject(new ChainError(message, { fault, retryable }));
      }
    }
  }

  private changed(status: ChainStatus): void {
    const job = status.job?.id;
    const isOther = job !== undefined && job !== this.known.job?.id;
    this.known = status;
    for (const listener of this.changeListeners) listener(status);
    if (isOther) this.enter(job);
  }

  /** Lanes are a job's: those of another are forgotten, and those that came before it was named are told again. */
  private enter(job: JobId): void {
    for (const lane of [...this.lanes.values()]) {
      if (lane.job !== job) this.lanes.delete(lane.payee);
      else for (const listener of this.laneListeners) listener(lane);
    }
  }

  private call<K extends ChainCall>(
    call: K,
    ...args: Parameters<ChainCalls[K]>
  ): ReturnType<ChainCalls[K]> {
    const { thread } = this;
    const answer = new Promise((resolve, reject) => {
      if (thread === null) {
        const why = this.known.problem ?? 'it is being started';
        reject(new ChainError(`the chain is not ready: ${why}`, { retryable: true }));
        return;
      }
      const id = this.nextId++;
      this.waiting.set(id, { resolve, reject });
      const request: ChainRequest = { id, call, args };
      thread.postMessage(request);
    });
    return answer as ReturnType<ChainCalls[K]>;
  }

  private settled(id: number): Waiting | undefined {
    const waiting = this.waiting.get(id);
    this.waiting.delete(id);
    return waiting;
  }

  private rejectAll(why: string): void {
    const all = [...this.waiting.values()];
    this.waiting.clear();
    for (const { reject } of all) reject(new ChainError(why, { retryable: true }));
  }
}
