/**
 * @file What vouchers may promise at most: per lane, per hour, per run. Asked before anything is signed; what counts is how much more a
 * voucher promises than the one before it in its lane. Money in base units.
 */
import { CHAIN_LIMITS } from '@ravenlab/protocol';

/** Null for none. */
export interface SpendLimits {
  readonly perLane: bigint | null;
  readonly perHour: bigint | null;
  /** Since the engine was started. */
  readonly perRun: bigint | null;
}

export const NO_LIMITS: SpendLimits = { perLane: null, perHour: null, perRun: null };

/** What is kept over a restart. */
export interface SpendRecord {
  /** Promised in all, by lane. */
  readonly lanes: ReadonlyMap<string, bigint>;
  /** Promised in each minute since 1970. */
  readonly minutes: ReadonlyMap<number, bigint>;
}

export type SpendAnswer =
  | {
      readonly ok: true;
      /** Of the lane, in all; and in the minute that runs. */
      readonly promised: bigint;
      readonly minute: number;
      readonly spentInMinute: bigint;
    }
  | { readonly ok: false; readonly reason: string };

const MINUTE_MS = 60_000;
const HOUR_MINUTES = 60;

export class SpendCaps {
  private limits: SpendLimits;
  private readonly lanes: Map<string, bigint>;
  private readonly minutes: Map<number, bigint>;
  private spentInRun = 0n;

  constructor(limits: SpendLimits, record: SpendRecord) {
    this.limits = limits;
    this.lanes = new Map(record.lanes);
    this.minutes = new Map(record.minutes);
  }

  get current(): SpendLimits {
    return this.limits;
  }

  setLimits(limits: SpendLimits): void {
    this.limits = limits;
  }

  /**
   * Takes a voucher into account, or says why it must not be signed; then nothing has changed.
   * @param lane names job and payee
   */
  spend(lane: string, cumulative: bigint, nowMs: number): SpendAnswer {
    const before = this.lanes.get(lane) ?? 0n;
    // One that promises no more than the lane has been promised costs nothing, and may be signed again after a crash.
    const more = cumulative > before ? cumulative - before : 0n;
    const minute = Math.floor(nowMs / MINUTE_MS);
    this.forgetBefore(minute - HOUR_MINUTES);
    const reason = this.refusal(cumulative, more);
    if (reason !== null) return { ok: false, reason };
    const spentInMinute = (this.minutes.get(minute) ?? 0n) + more;
    if (more > 0n) {
      this.lanes.set(lane, cumulative);
      this.minutes.set(minute, spentInMinute);
      this.spentInRun += more;
    }
    return { ok: true, promised: before + more, minute, spentInMinute };
  }

  private refusal(cumulative: bigint, more: bigint): string | null {
    const { perLane, perHour, perRun } = this.limits;
    if (more === 0n) return null;
    if (perLane !== null && cumulative > perLane) {
      return refused('one contributor', perLane, cumulative);
    }
    const inHour = this.spentInHour() + more;
    if (perHour !== null && inHour > perHour) return refused('one hour', perHour, inHour);
    const inRun = this.spentInRun + more;
    if (perRun !== null && inRun > perRun) return refused('this run', perRun, inRun);
    return null;
  }

  private spentInHour(): bigint {
    let sum = 0n;
    for (const amount of this.minutes.values()) sum += amount;
    return sum;
  }

  private forgetBefore(minute: number): void {
    for (const each of this.minutes.keys()) if (each <= minute) this.minutes.delete(each);
    // A clock that was set back must not let the map grow.
    while (this.minutes.size > CHAIN_LIMITS.spendMinutes) {
      const [oldest] = this.minutes.keys();
      if (oldest === undefined) return;
      this.minutes.delete(oldest);
    }
  }
}

function refused(what: string, limit: bigint, wanted: bigint): string {
  return (
    `the spend limit of ${what} is ${limit.toString()} base units, and this voucher would make it ${wanted.toString()}: ` +
    'it is not signed. Raise the limit if that is what you want'
  );
}
