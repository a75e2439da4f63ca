/**
 * @file Which lanes can be reserved from what is free in a job. The contract takes a batch whole or not at all: one lane too many would
 * keep everybody from working.
 */
import type { Address } from '@ravenlab/protocol';

/** A lane and what its cap should be at least, base units. */
export interface CapTarget {
  readonly payee: Address;
  readonly cap: bigint;
}

type Caps = ReadonlyMap<Address, bigint>;

export interface ReservationOptions {
  readonly wanted: readonly CapTarget[];
  /** In blocks, confirmed or not: no longer free. */
  readonly taken: Caps;
  /** Asked for and in no block yet: free as the chain has it, and spoken for. */
  readonly asked: Caps;
  /** As the newest block has it. */
  readonly free: bigint;
}

export interface Reservation {
  /** To be asked for now, in the order in which they were wanted. */
  readonly fits: readonly CapTarget[];
  /** How many do not fit, and how much more has to be free for them. */
  readonly left: number;
  readonly lacks: bigint;
}

/** Who has, or will have, as much already is left out. */
export function planReservation({ wanted, taken, asked, free }: ReservationOptions): Reservation {
  const atLeast = (payee: Address): bigint => larger(taken.get(payee), asked.get(payee));
  let room = free;
  for (const payee of asked.keys()) room -= atLeast(payee) - (taken.get(payee) ?? 0n);
  const fits: CapTarget[] = [];
  let left = 0;
  let lacking = 0n;
  for (const target of wanted) {
    const more = target.cap - atLeast(target.payee);
    if (more <= 0n) continue;
    if (more <= room) {
      fits.push(target);
      room -= more;
    } else {
      left++;
      lacking += more;
    }
  }
  return { fits, left, lacks: left === 0 ? 0n : lacking - room };
}

function larger(a = 0n, b = 0n): bigint {
  return a > b ? a : b;
}
