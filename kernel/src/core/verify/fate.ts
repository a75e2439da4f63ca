/**
 * @file What becomes of an audit that has decided nothing so far. Pure. An answer that nobody repeated vouches for nothing, so
 * an audit is given up only where it could never be made; everything else is asked again, and in the end done again.
 */
import { ENGINE_LIMITS } from '@ravenlab/protocol';

/**
 * ask: the next judge, now · wait: for a judge to come · redo: others do again what nobody vouches for, and its worker is neither
 * paid for it nor accused · unverified: it counts, and the user is told that nobody checks it.
 */
export type Fate = 'ask' | 'wait' | 'redo' | 'unverified';

export interface OpenAudit {
  /** Results that agreed with nothing before them. */
  readonly disputes: number;
  /** Judges that could not compute it. */
  readonly failures: number;
  /** The last judge was a worker of the user's. */
  readonly isTrusted: boolean;
  /** Somebody is here who may judge, and whose result can be compared. */
  readonly isPossible: boolean;
  /** Somebody of another owner is here, whether or not it may judge. */
  readonly isAnybodyHere: boolean;
  /** Since it was begun; ms. */
  readonly waitedMs: number;
}

export function fateOf(audit: OpenAudit): Fate {
  const { auditDisputes, auditFailures, auditWaitMs } = ENGINE_LIMITS;
  if (audit.disputes >= auditDisputes) return 'redo';
  // A unit may be too large for the user's own machine. Strangers that fail may do so on purpose.
  if (audit.failures >= auditFailures) return audit.isTrusted ? 'unverified' : 'redo';
  if (audit.isPossible) return 'ask';
  if (audit.waitedMs < auditWaitMs) return 'wait';
  return audit.disputes > 0 || audit.isAnybodyHere ? 'redo' : 'unverified';
}
