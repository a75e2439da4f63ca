/** @file The treasury of an engine: its policy, and where what it wants done is done. */
import type { PayRate, WorkerId } from '@ravenlab/protocol';
import { amountOfWork } from '@ravenlab/protocol';
import type { ClusterEvent } from '../../core/cluster/events.js';
import type { PayPolicy } from '../../core/ledger/payEvents.js';
import type { ChainService } from '../chain/chainService.js';
import { TEST_PRICE } from '../chain/prices.js';
import type { Durability } from '../durability.js';
import type { WorkerHub } from '../workerHub.js';
import { shortIdOf } from '../workerHub.js';
import type { RestoredPay } from './payRows.js';
import { Treasury } from './treasury.js';

/** What a newcomer's lane is good for beyond what it earned, at the price of the work; and how far that grows. */
const START_WORK = { flops: 1e13, bytes: 1e13 };
const MAX_CREDITS = 1_000n;

/**
 * Every twentieth unit of a stranger is audited, so what is held back has to be worth 19 of them: then a unit made up costs
 * more than it brings.
 */
export function policyFor(rate: PayRate): PayPolicy {
  const startCredit = amountOfWork(rate, START_WORK);
  const maxCredit = MAX_CREDITS * startCredit;
  return { holdbackUnits: 19, holdbackMs: 10_000, startCredit, maxCredit };
}

/** At the price of test coins. */
export const DEFAULT_POLICY = policyFor(TEST_PRICE.rate);

export interface EngineTreasuryOptions {
  readonly chain: ChainService;
  readonly restored: RestoredPay;
  /** Cheats, which are paid for nothing. */
  readonly caught: ReadonlySet<WorkerId>;
  /** Of strangers' work of an earlier life it is not known yet whether it is right. */
  readonly isAuditing: boolean;
  readonly rate: PayRate;
  readonly durability: Durability;
  readonly now: () => number;
  readonly hub: () => WorkerHub;
  readonly serverKey: () => string;
  readonly feed: (event: ClusterEvent) => void;
  readonly tell: (level: 'info' | 'warning' | 'error', text: string) => void;
}

export function makeTreasury(options: EngineTreasuryOptions): Treasury {
  const { chain, restored, rate, durability, now, hub, serverKey, feed, tell } = options;
  /** Workers that get no work because nothing is left to pay it from. */
  const uncovered = new Set<WorkerId>();
  return new Treasury({
    ...{ chain, restored, rate, now, serverKey, tell },
    verdictOf: (worker) => {
      if (options.caught.has(worker)) return 'refused';
      return options.isAuditing ? null : 'accepted';
    },
    policy: policyFor(rate),
    wallMs: Date.now,
    write: (row) => {
      durability.paid(row);
    },
    log: (cursor, limit) => durability.log(cursor, limit),
    send: (payee, vouchers) => {
      for (const session of hub().sessions()) {
        if (session.payee !== payee) continue;
        for (const { voucher, lines } of vouchers) {
          session.send({ kind: 'voucher', voucher, lines });
        }
      }
    },
    onTerms: (payee) => {
      hub().offer(payee);
    },
    onOpen: () => {
      hub().recall();
    },
    onCover: (payee, isCovered) => {
      for (const { worker, payee: own } of hub().sessions()) {
        if (own !== payee) continue;
        if (!isCovered && !uncovered.has(worker)) {
          uncovered.add(worker);
          tell(
            'warning',
            `Worker ${shortIdOf(worker)} gets no work until more is reserved for it: what it did uses up its lane. Deposit more if nothing is free.`,
          );
          feed({ kind: 'pause', worker });
        } else if (isCovered && uncovered.delete(worker)) feed({ kind: 'resume', worker });
      }
    },
  });
}
