/**
 * @file Which micro-shards have been paid in requests that may be executed again. A replayed execution does its arithmetic
 * anew, and whoever did it first has been paid for it.
 */

/** A kernel's request: `session` numbers the kernels of an engine, `request` what one of them asked. */
export interface RequestPoint {
  readonly session: number;
  readonly request: number;
}

/** Whether a request was asked before another one. */
export function isBefore(a: RequestPoint, b: RequestPoint): boolean {
  return a.session < b.session || (a.session === b.session && a.request < b.request);
}

/** A paid unit of work: unique in the ledger for ever. */
export interface PaidKey extends RequestPoint {
  /** Index of the micro-shard in its execution. */
  readonly shard: number;
}

const NONE: ReadonlySet<number> = new Set();

export class PaidBook {
  private readonly shards = new Map<number, Map<number, Set<number>>>();

  constructor(rows: Iterable<PaidKey> = []) {
    for (const row of rows) this.add(row);
  }

  /** Requests that it knows paid shards of. */
  get size(): number {
    let count = 0;
    for (const requests of this.shards.values()) count += requests.size;
    return count;
  }

  paidOf({ session, request }: RequestPoint): ReadonlySet<number> {
    return this.shards.get(session)?.get(request) ?? NONE;
  }

  /** Forgets what can never be executed again: everything up to `point`, and all of earlier sessions. */
  settle(point: RequestPoint): void {
    for (const [session, requests] of this.shards) {
      if (session > point.session) continue;
      for (const request of requests.keys()) {
        if (session < point.session || request <= point.request) requests.delete(request);
      }
      if (requests.size === 0) this.shards.delete(session);
    }
  }

  private add({ session, request, shard }: PaidKey): void {
    const requests = this.shards.get(session) ?? new Map<number, Set<number>>();
    const shards = requests.get(request) ?? new Set<number>();
    shards.add(shard);
    requests.set(request, shards);
    this.shards.set(session, requests);
  }
}
