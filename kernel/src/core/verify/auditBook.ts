/**
 * @file Which answers of strangers are repeated and compared, what that says of the others, and up to where a run can be
 * relied on. Pure: no tensors, no clock, no scheduler. Who repeats, and whether two answers are the same, is the shell's.
 *
 * An answer is vouched for by its own audit, or by a clean audit of a later answer of the same worker: whoever cheats from
 * some answer on is caught by the next audit, and nothing since is relied on before it. What cheats now and then only is
 * found with the probability of an audit each time.
 */
import type { LeaseId, WorkerId } from '@ravenlab/protocol';
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import type { RequestPoint } from '../journal/paidBook.js';
import { isBefore } from '../journal/paidBook.js';

/** Micro-shards that a stranger answered together. */
export interface Answer {
  /** Rises with every answer of anybody, from 1; below, of an earlier life of the engine. */
  readonly seq: number;
  readonly worker: WorkerId;
  readonly point: RequestPoint;
  /** Its request changes what later ones see. */
  readonly isEffect: boolean;
  readonly shard: number;
  readonly count: number;
  readonly leases: readonly LeaseId[];
}

/** refused: it is wrong, or is done again because nobody can tell · unverified: nobody was there who could have repeated it. */
export type Verdict = 'clean' | 'refused' | 'unverified';

export interface Judgement {
  readonly answer: Answer;
  readonly verdict: Verdict;
}

/** What is known of one stranger. */
interface Suspect {
  /** Not vouched for, oldest first. */
  readonly pending: Map<number, Answer>;
  /** Of `pending`: those whose own audit is under way. */
  readonly open: Set<number>;
  lastAtMs: number;
  isCaught: boolean;
  /** What it answered is being done again by others: until then nothing of it counts. */
  isWithheld: boolean;
}

export interface AuditBookOptions {
  /** Uniform in [0, 1); nobody outside can foresee it. */
  readonly random: () => number;
  /** Clean audits by worker, counted on from earlier lives of the engine. */
  readonly verified: Map<WorkerId, number>;
}

export class AuditBook {
  private readonly random: () => number;
  private readonly verified: Map<WorkerId, number>;
  private readonly suspects = new Map<WorkerId, Suspect>();

  constructor({ random, verified }: AuditBookOptions) {
    this.random = random;
    this.verified = verified;
  }

  /**
   * An answer was taken. @returns whether to audit it: decided here and now, when it cannot be changed any more. One that is
   * not may have to be later, if it stays its worker's last.
   */
  answered(answer: Answer, now: number): boolean {
    const suspect = this.suspectOf(answer.worker);
    suspect.pending.set(answer.seq, answer);
    suspect.lastAtMs = now;
    const isAudited =
      suspect.pending.size > ENGINE_LIMITS.auditBacklog ||
      this.random() < auditShare(this.verified.get(answer.worker) ?? 0);
    if (isAudited) suspect.open.add(answer.seq);
    return isAudited;
  }

  /**
   * Last answers that no later one will vouch for soon: their workers have nothing to do, or are gone. From here on their
   * audits are under way.
   * @param isAtWork whether a worker is here and has leases.
   */
  due(now: number, isAtWork: (worker: WorkerId) => boolean): Answer[] {
    const due: Answer[] = [];
    for (const [worker, suspect] of this.suspects) {
      const last = lastOf(suspect.pending);
      if (last === null || suspect.open.size > 0) continue;
      if (suspect.isCaught || suspect.isWithheld) continue;
      const waitMs = last.seq > 0 ? ENGINE_LIMITS.auditIdleMs : ENGINE_LIMITS.auditWaitMs;
      if (now - suspect.lastAtMs < waitMs || isAtWork(worker)) continue;
      suspect.open.add(last.seq);
      due.push(last);
    }
    return due;
  }

  /**
   * Units of an earlier life of the engine that it had not judged when it ended. Nobody can repeat them; the next clean audit
   * of their worker vouches for them, and if it does not come back for one they are due after a while.
   * @param seq below 1, never used before.
   */
  restored(answer: Answer, now: number): void {
    const suspect = this.suspectOf(answer.worker);
    suspect.pending.set(answer.seq, answer);
    suspect.lastAtMs = now;
  }

  /** One answer is to be audited now, whatever was decided. @returns whether it still has to be. */
  claim({ worker, seq }: Answer): boolean {
    const suspect = this.suspectOf(worker);
    if (!suspect.pending.has(seq) || suspect.open.has(seq)) return false;
    suspect.open.add(seq);
    return true;
  }

  /** It need not be audited after all: a later one may vouch for it. */
  unclaim({ worker, seq }: Answer): void {
    this.suspects.get(worker)?.open.delete(seq);
  }

  /** Whether an audit of this answer still decides something. */
  isOpen({ worker, seq }: Answer): boolean {
    return this.suspects.get(worker)?.open.has(seq) === true;
  }

  /** Whether some answer waits for its worker to fall idle. */
  get isWaiting(): boolean {
    for (const { pending, open } of this.suspects.values()) {
      if (pending.size > 0 && open.size === 0) return true;
    }
    return false;
  }

  /** Audits under way. */
  get openCount(): number {
    let count = 0;
    for (const { open } of this.suspects.values()) count += open.size;
    return count;
  }

  /** Both answers are the same. @returns what this vouches for. */
  clean({ worker, seq }: Answer): Judgement[] {
    const suspect = this.suspectOf(worker);
    if (suspect.open.delete(seq)) this.count(worker);
    return this.judge(suspect, seq, 'clean');
  }

  /** An answer that came with one that was refused, before its worker was gone. @returns its refusal. */
  late(answer: Answer): Judgement[] {
    this.suspectOf(answer.worker).pending.set(answer.seq, answer);
    return [{ answer, verdict: 'refused' }];
  }

  /** Nobody could repeat it. */
  unverified({ worker, seq }: Answer): Judgement[] {
    const suspect = this.suspectOf(worker);
    suspect.open.delete(seq);
    return this.judge(suspect, seq, 'unverified');
  }

  /** Its answer is not what its inputs give: nothing that is not vouched for counts, and it never counts again. */
  caught(worker: WorkerId): Judgement[] {
    const suspect = this.suspectOf(worker);
    suspect.isCaught = true;
    this.verified.delete(worker);
    suspect.open.clear();
    return suspect.isWithheld ? [] : refusalOf(suspect);
  }

  isCaught(worker: WorkerId): boolean {
    return this.suspects.get(worker)?.isCaught === true;
  }

  /** Nothing that it answers counts in this life of the engine. */
  isRefused(worker: WorkerId): boolean {
    return this.isCaught(worker) || this.suspects.get(worker)?.isWithheld === true;
  }

  /** It begins anew: the user lets it in again. What it did still holds what it held. */
  pardoned(worker: WorkerId): void {
    const suspect = this.suspects.get(worker);
    if (suspect !== undefined && this.heldBy(suspect) === null) this.suspects.delete(worker);
  }

  /**
   * Nobody can tell whether its answers are right, though others are here who should: they are done again, and this worker is
   * not paid for them. It is accused of nothing.
   */
  withheld(worker: WorkerId): Judgement[] {
    const suspect = this.suspectOf(worker);
    if (suspect.isCaught || suspect.isWithheld) return [];
    const refused = refusalOf(suspect);
    suspect.open.clear();
    suspect.isWithheld = refused.some(({ answer }) => answer.isEffect);
    if (!suspect.isWithheld) suspect.pending.clear();
    return refused;
  }

  /** The execution of these answers had no effect in the end: nothing is built on them. They are judged all the same. */
  withdrawn({ session, request }: RequestPoint): void {
    for (const { pending } of this.suspects.values()) {
      for (const [seq, answer] of pending) {
        const { point } = answer;
        if (point.session !== session || point.request !== request) continue;
        pending.set(seq, { ...answer, isEffect: false });
      }
    }
  }

  /** The first request that cannot be relied on; null when all can. What a caught worker did holds it for ever. */
  heldFrom(): RequestPoint | null {
    let first: RequestPoint | null = null;
    for (const suspect of this.suspects.values()) {
      const own = this.heldBy(suspect);
      if (own !== null && (first === null || isBefore(own, first))) first = own;
    }
    return first;
  }

  private heldBy({ pending }: Suspect): RequestPoint | null {
    let first: RequestPoint | null = null;
    for (const { point, isEffect } of pending.values()) {
      if (isEffect && (first === null || isBefore(point, first))) first = point;
    }
    return first;
  }

  /** Answers up to `seq` whose own audit is not under way. */
  private judge(suspect: Suspect, seq: number, verdict: Verdict): Judgement[] {
    if (suspect.isCaught || suspect.isWithheld) return [];
    const judged: Judgement[] = [];
    for (const [at, answer] of suspect.pending) {
      if (at > seq) break;
      if (suspect.open.has(at)) continue;
      suspect.pending.delete(at);
      judged.push({ answer, verdict });
    }
    return judged;
  }

  /** Whoever was not audited for longest makes room. */
  private count(worker: WorkerId): void {
    const count = (this.verified.get(worker) ?? 0) + 1;
    this.verified.delete(worker);
    this.verified.set(worker, count);
    const [oldest] = this.verified.keys();
    if (this.verified.size > ENGINE_LIMITS.standings && oldest !== undefined) {
      this.verified.delete(oldest);
    }
  }

  private suspectOf(worker: WorkerId): Suspect {
    let suspect = this.suspects.get(worker);
    if (suspect === undefined) {
      suspect = {
        ...{ pending: new Map(), open: new Set(), lastAtMs: 0 },
        ...{ isCaught: false, isWithheld: false },
      };
      this.suspects.set(worker, suspect);
    }
    return suspect;
  }
}

/** Share of the answers of a worker that are audited: falls with what was found clean, never below the floor. */
export function auditShare(verified: number): number {
  if (verified < ENGINE_LIMITS.auditFirst) return 1;
  return Math.max(ENGINE_LIMITS.auditPercent / 100, 1 / verified);
}

function refusalOf({ pending }: Suspect): Judgement[] {
  return [...pending.values()].map((answer) => ({ answer, verdict: 'refused' as const }));
}

function lastOf(pending: ReadonlyMap<number, Answer>): Answer | null {
  let last: Answer | null = null;
  for (const answer of pending.values()) last = answer;
  return last;
}
