/**
 * @file Who may knock, and how often: arrivals per address and time, and connections per address that are not admitted yet. Pure
 * bookkeeping; sockets are the gate's.
 */
import { GATE_LIMITS } from '@ravenlab/protocol/limits';

interface Caller {
  /** Arrivals that it still has; refilled with time. */
  tokens: number;
  atMs: number;
  waiting: number;
}

export class Doorman {
  private readonly callers = new Map<string, Caller>();

  /** Whether a connection of `address` may wait for admission. If so it counts until `settle`. */
  arrive(address: string, nowMs: number): boolean {
    const caller = this.refilled(address, nowMs);
    if (caller === null || caller.tokens < 1) return false;
    if (caller.waiting >= GATE_LIMITS.strangersPerAddress) return false;
    caller.tokens--;
    caller.waiting++;
    return true;
  }

  /** One connection of `address` waits no more: it is a worker's, or gone. */
  settle(address: string): void {
    const caller = this.callers.get(address);
    if (caller !== undefined && caller.waiting > 0) caller.waiting--;
  }

  waiting(address: string): number {
    return this.callers.get(address)?.waiting ?? 0;
  }

  /** The address with the most connections that wait; null when none does. */
  busiest(): string | null {
    let most = 0;
    let found: string | null = null;
    for (const [address, { waiting }] of this.callers) {
      if (waiting <= most) continue;
      most = waiting;
      found = address;
    }
    return found;
  }

  /** Null when too many addresses are known and all of them are busy. */
  private refilled(address: string, nowMs: number): Caller | null {
    let caller = this.callers.get(address);
    if (caller === undefined) {
      if (this.callers.size >= GATE_LIMITS.addresses && !this.forgetOne(nowMs)) return null;
      caller = { tokens: GATE_LIMITS.arrivalsBurst, atMs: nowMs, waiting: 0 };
    } else {
      this.callers.delete(address);
    }
    // Newest last, so that who has not called for longest is forgotten first.
    this.callers.set(address, caller);
    caller.tokens = tokensOf(caller, nowMs);
    caller.atMs = nowMs;
    return caller;
  }

  /** One that was told apart for nothing: it would have all its arrivals again. Else the longest silent one that does not wait. */
  private forgetOne(nowMs: number): boolean {
    let silent: string | null = null;
    for (const [address, caller] of this.callers) {
      if (caller.waiting > 0) continue;
      silent ??= address;
      if (tokensOf(caller, nowMs) < GATE_LIMITS.arrivalsBurst) continue;
      silent = address;
      break;
    }
    return silent !== null && this.callers.delete(silent);
  }
}

function tokensOf({ tokens, atMs }: Caller, nowMs: number): number {
  const gained = ((nowMs - atMs) / 1000) * GATE_LIMITS.arrivalsPerSecond;
  return Math.min(GATE_LIMITS.arrivalsBurst, tokens + Math.max(0, gained));
}

const GROUPS = 8;
/** Of IPv6, what one customer gets: a /64. */
const CUSTOMER_GROUPS = 4;
const MAPPED_IPV4 = /^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i;

/** What counts as one address: an IPv4 address, or the first 64 bits of an IPv6 address. */
export function callerOf(remoteAddress: string): string {
  const address = remoteAddress.replace(MAPPED_IPV4, '').replace(/%.*$/, '').toLowerCase();
  if (!address.includes(':')) return address;
  const [head = '', tail] = address.split('::');
  const front = head === '' ? [] : head.split(':');
  const back = tail === undefined || tail === '' ? [] : tail.split(':');
  const gap = tail === undefined ? 0 : Math.max(0, GROUPS - front.length - back.length);
  const groups = [...front, ...Array.from({ length: gap }, () => '0'), ...back];
  const first = groups.slice(0, CUSTOMER_GROUPS).map((group) => group.replace(/^0+(?=.)/, ''));
  return `${first.join(':')}::/64`;
}
