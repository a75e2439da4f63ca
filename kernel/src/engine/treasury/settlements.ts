/**
 * @file Settlements on their way: what they pay for is on the disk before the chain hears of them, and one that the chain does not take
 * may be asked for again. Does not decide what is due.
 */
import type { Sent } from '@ravenlab/protocol';
import { ChainError } from '@ravenlab/protocol';
import type { SettlementBatch } from '../../core/ledger/payEvents.js';
import type { Paymaster } from '../../core/ledger/paymaster.js';
import type { ChainService } from '../chain/chainService.js';
import type { SettlementRow } from './payRows.js';

export interface SettlementsOptions {
  readonly chain: ChainService;
  readonly paymaster: Paymaster;
  readonly now: () => number;
  readonly wallMs: () => number;
  /** Answered by `stored`. */
  readonly write: (row: SettlementRow) => void;
}

interface Settling {
  readonly batch: SettlementBatch;
  readonly resolve: (sent: Sent) => void;
  readonly reject: (error: unknown) => void;
}

export class Settlements {
  private readonly options: SettlementsOptions;
  private readonly underWay = new Map<number, Settling>();
  private nextId = 1;

  constructor(options: SettlementsOptions) {
    this.options = options;
  }

  /** Resolves when the chain cannot lose it any more. */
  send(batch: SettlementBatch): Promise<Sent> {
    const { paymaster, now, wallMs, write } = this.options;
    const job = paymaster.currentJob;
    if (job === null) return Promise.reject(new ChainError('there is no job to settle'));
    const id = this.nextId++;
    paymaster.settling(batch, now());
    const { head, statement } = batch;
    return new Promise((resolve, reject) => {
      this.underWay.set(id, { batch, resolve, reject });
      write({ kind: 'settlement', id, job, head, statement, atMs: wallMs() });
    });
  }

  /** Its row is on the disk. */
  stored(id: number): void {
    const settling = this.underWay.get(id);
    if (settling === undefined) return;
    this.underWay.delete(id);
    const { batch, resolve, reject } = settling;
    const { chain, paymaster } = this.options;
    chain.settle(batch.lanes, batch.head).then(
      (transaction) => {
        resolve({ transaction });
      },
      (error: unknown) => {
        paymaster.unsettled(batch);
        reject(error);
      },
    );
  }
}
