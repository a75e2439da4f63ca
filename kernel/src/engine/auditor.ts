/**
 * @file Audits of strangers' answers: what has to be kept to repeat one, the execution that repeats it, the comparison, and
 * what follows. Which answers are audited, and what that says of others, is `core/verify/auditBook.ts`.
 *
 * The user's own workers judge. Where there are none, another owner's worker repeats the answer, and a third one decides if
 * they differ: then two owners that agree on a lie are believed.
 */
import type { DoneMessage, ExecutionId, LeaseId, WorkerId } from '@ravenlab/protocol';
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import { mayAudit } from '../core/cluster/audits.js';
import type { ClusterEffect, ClusterEvent } from '../core/cluster/events.js';
import type { AuditRule, ClusterState, Failure, Member } from '../core/cluster/state.js';
import type { RequestPoint } from '../core/journal/paidBook.js';
import { isBefore } from '../core/journal/paidBook.js';
import type { Answer, Judgement } from '../core/verify/auditBook.js';
import { AuditBook } from '../core/verify/auditBook.js';
import type { Part } from '../core/verify/compare.js';
import { firstNotFinite, isClose, isSame } from '../core/verify/compare.js';
import { findingOf } from '../core/verify/finding.js';
import type { AuditedPlan } from './auditedPlan.js';
import { auditKey, auditSpec, auditedPlan, paidAudits, partsOfAudit } from './auditedPlan.js';
import { Collector } from './collector.js';
import type { Reducers } from './collector.js';
import type { SharedHeap } from './heap.js';
import type { BoundPlan } from './planView.js';
import { readsData } from './planView.js';
import type { Revision } from './states.js';

type Accept = Extract<ClusterEffect, { kind: 'accept' }>;

/** What the runner knows of an execution. */
export interface AuditedExecution {
  readonly point: RequestPoint;
  readonly isEffect: boolean;
  readonly bound: BoundPlan;
  readonly collector: Collector;
}

export interface Caught {
  readonly worker: WorkerId;
  readonly answer: Answer;
  /** In words: how it is known. */
  readonly why: string;
  /** Weights may have been made of what it did. */
  readonly isBuiltOn: boolean;
}

export interface AuditorOptions {
  readonly cluster: ClusterState;
  readonly heap: SharedHeap;
  readonly reducers: Reducers;
  readonly feed: (event: ClusterEvent) => void;
  readonly beforeSubmit: () => void;
  readonly nextExecution: () => ExecutionId;
  readonly executionOf: (execution: number) => AuditedExecution | null;
  readonly pin: (revision: Revision) => () => void;
  readonly paidOf: (point: RequestPoint) => ReadonlySet<number>;
  /** Uniform in [0, 1), unforeseeable. */
  readonly random: () => number;
  /** Integer ms that never go back. */
  readonly now: () => number;
  /** The run cannot be relied on from this request on; null: it can, as a whole. */
  readonly onHeld: (from: RequestPoint | null) => void;
  /** An audit has ended: what waited for the data that it read may go on. */
  readonly onEnded: () => void;
  readonly onJudged: (judgements: readonly Judgement[]) => void;
  readonly onCaught: (caught: Caught) => void;
  readonly onUnverified: (worker: WorkerId) => void;
}

/** An answer and all that it takes to repeat it. */
interface Kept {
  readonly answer: Answer;
  readonly bound: BoundPlan;
  readonly parts: readonly Part[];
  readonly bitClass: string;
  readonly owner: string;
  readonly sizeBytes: number;
  readonly release: () => void;
  isOpen: boolean;
}

/** Somebody else's answer to the same. */
interface Rival {
  readonly worker: WorkerId;
  readonly owner: string;
  readonly parts: readonly Part[];
}

interface Audit {
  readonly kept: Kept;
  readonly plan: AuditedPlan;
  readonly collector: Collector;
  readonly rule: AuditRule;
  readonly rival: Rival | null;
  readonly attempt: number;
  readonly sinceMs: number;
  auditor: WorkerId | null;
}

/** Times that an audit is begun anew because workers failed it. */
const ATTEMPTS = 4;

export class Auditor {
  readonly book: AuditBook;
  /** Of strangers' answers and of those repeated, since the start; and FLOPs of both. */
  readonly counters = { answers: 0, audits: 0, answerFlops: 0, auditFlops: 0 };
  private readonly options: AuditorOptions;
  private readonly audits = new Map<number, Audit>();
  /** The last answer of each stranger that is not audited yet. */
  private readonly last = new Map<WorkerId, Kept>();
  private keptBytes = 0;
  private nextSeq = 1;
  private held: RequestPoint | null = null;
  /** Since when nobody is here who could repeat what somebody else answered; null while there is. */
  private aloneSinceMs: number | null = null;

  constructor(options: AuditorOptions) {
    this.options = options;
    const { random, cluster } = options;
    this.book = new AuditBook({ random, verified: cluster.verified });
  }

  /** An audit that is under way; null for any other execution. */
  executionOf(execution: number): { readonly collector: Collector } | null {
    return this.audits.get(execution) ?? null;
  }

  planOf(execution: number): AuditedPlan | null {
    return this.audits.get(execution)?.plan ?? null;
  }

  /** Whether an audit that may still come reads one of these data sets; those that only might are then done at once. */
  usesData(ids: readonly number[]): boolean {
    const reads = ({ bound }: Kept): boolean => readsData(bound, ids);
    for (const [worker, kept] of this.last) if (reads(kept)) this.forget(worker);
    return [...this.audits.values()].some(({ kept }) => reads(kept));
  }

  usesProgram(hash: string): boolean {
    const uses = ({ bound }: Kept): boolean => bound.programs.some((known) => known.hash === hash);
    return (
      [...this.audits.values()].some(({ kept }) => uses(kept)) || [...this.last.values()].some(uses)
    );
  }

  /** Whether what this worker answers is still to be judged when it is taken. */
  judges(worker: WorkerId): boolean {
    return this.options.cluster.members.get(worker)?.isTrusted === false;
  }

  /** The journal's key of a unit of an audit; null when the execution is none. */
  paidAs(execution: number, shard: number): (RequestPoint & { readonly shard: number }) | null {
    const audit = this.audits.get(execution);
    if (audit === undefined) return null;
    const { answer } = audit.kept;
    return { ...answer.point, shard: auditKey(answer, audit.attempt, shard) };
  }

  /** A result is taken; called before its pieces are moved. @returns whether it was an audit's. */
  accepted(effect: Accept, done: DoneMessage | null): boolean {
    const audit = this.audits.get(effect.execution);
    const unit = done?.units[effect.index];
    if (unit?.status !== 'ok') return audit !== undefined;
    if (audit !== undefined) {
      audit.auditor = effect.worker;
      audit.collector.accept(effect.shard, effect.count, unit.lease, unit.outputs);
      return true;
    }
    const member = this.options.cluster.members.get(effect.worker);
    const execution = this.options.executionOf(effect.execution);
    if (member === undefined || member.isTrusted || execution === null) return false;
    if (this.isHopeless(member)) {
      this.unchecked(effect, member, execution);
      return false;
    }
    const parts = execution.collector.partsOf(effect.shard, unit.lease, unit.outputs);
    this.answered(effect, member, execution, parts);
    return false;
  }

  /** Gives back what came in pieces of leases that are void. */
  discard(leases: readonly LeaseId[]): void {
    for (const { collector } of this.audits.values()) {
      for (const lease of leases) collector.discard(lease);
    }
  }

  /** All of an audit is in. */
  complete(execution: number): boolean {
    const audit = this.audits.get(execution);
    if (audit === undefined) return false;
    audit.collector.whenSummed(() => {
      const parts = partsOfAudit(audit.plan, audit.collector);
      this.options.feed({ kind: 'reduced', execution: execution as ExecutionId, failure: null });
      this.end(execution);
      this.compare(audit, parts);
    });
    return true;
  }

  /** Workers could not repeat it. */
  failed(execution: number, { code }: Failure): boolean {
    const audit = this.audits.get(execution);
    if (audit === undefined) return false;
    this.end(execution);
    // What a stranger said is a number is none where the user's own worker computes it.
    if (code === 'numeric' && audit.rule.isTrustedOnly) {
      this.catch(audit.kept, 'a worker of yours gets NaN or infinity where it sent numbers');
    } else this.again(audit);
    return true;
  }

  /** Nothing is built on what was answered to this request. */
  withdrawn(point: RequestPoint): void {
    this.book.withdrawn(point);
    this.tellHeld();
  }

  /** Looks after what waits; to be called often, a few times `auditIdleMs`. */
  tick(): void {
    const now = this.options.now();
    if (this.book.isWaiting) this.auditLast(now);
    for (const [execution, audit] of [...this.audits]) {
      if (this.options.cluster.executions.get(execution as ExecutionId)?.queue.length === 0)
        continue;
      if (this.isPossible(audit.rule)) continue;
      this.options.feed({ kind: 'cancelled', execution: execution as ExecutionId });
      this.end(execution);
      const isOver = now - audit.sinceMs >= ENGINE_LIMITS.auditWaitMs;
      if (isOver) this.giveUp(audit.kept);
      else this.launch(audit.kept, audit);
    }
  }

  close(): void {
    for (const execution of [...this.audits.keys()]) this.end(execution);
  }

  // ── answers ─────────────────────────────────────────────────────────────────────────────────────────────────────

  private answered(
    { execution: id, shard, count, leases }: Accept,
    member: Member,
    { point, isEffect, bound }: AuditedExecution,
    parts: readonly Part[],
  ): void {
    const { book, options } = this;
    const worker = member.id;
    const answer = { seq: this.nextSeq++, worker, point, isEffect, shard, count, leases };
    const kept = this.keep(answer, member, bound, parts);
    this.counters.answers += count;
    this.counters.answerFlops += flopsOf(kept);
    const isAudited = book.answered(answer, options.now());
    if (isEffect && (this.held === null || isBefore(point, this.held))) {
      this.held = point;
      options.onHeld(point);
    }
    const odd = firstNotFinite(parts);
    if (odd >= 0) {
      this.catch(
        kept,
        `it sent NaN or infinity as part of execution ${String(id)} and called it a result`,
      );
    } else if (isAudited) this.launch(kept, null);
    else this.forgetAllBut(worker, kept);
  }

  /** Nobody has been here for long who could repeat what this member says: nothing is kept of it. */
  private isHopeless(member: Member): boolean {
    for (const other of this.options.cluster.members.values()) {
      if (other.owner === member.owner) continue;
      this.aloneSinceMs = null;
      return false;
    }
    const now = this.options.now();
    this.aloneSinceMs ??= now;
    return now - this.aloneSinceMs >= ENGINE_LIMITS.auditWaitMs;
  }

  private unchecked(
    { shard, count, leases }: Accept,
    { id: worker }: Member,
    { point, isEffect }: AuditedExecution,
  ): void {
    const answer = { seq: this.nextSeq++, worker, point, isEffect, shard, count, leases };
    this.counters.answers += count;
    this.book.answered(answer, this.options.now());
    this.settled(this.book.unverified(answer), worker);
  }

  private keep(
    answer: Answer,
    { bitClass, owner }: Member,
    bound: BoundPlan,
    parts: readonly Part[],
  ): Kept {
    const releases = bound.revisions.map((revision) => this.options.pin(revision));
    const sizeBytes = parts.reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
    this.keptBytes += sizeBytes;
    const release = (): void => {
      this.keptBytes -= sizeBytes;
      for (const each of releases.splice(0)) each();
    };
    return { answer, bound, parts, bitClass, owner, sizeBytes, release, isOpen: false };
  }

  private forgetAllBut(worker: WorkerId, kept: Kept): void {
    this.forget(worker);
    if (this.keptBytes > ENGINE_LIMITS.auditBytes) kept.release();
    else this.last.set(worker, kept);
  }

  private forget(worker: WorkerId): void {
    this.last.get(worker)?.release();
    this.last.delete(worker);
  }

  /** Strangers that have nothing to do any more: no later answer will vouch for their last ones. */
  private auditLast(now: number): void {
    const isAtWork = (worker: WorkerId): boolean =>
      (this.options.cluster.members.get(worker)?.leases.size ?? 0) > 0;
    for (const answer of this.book.due(now, isAtWork)) {
      const kept = this.last.get(answer.worker);
      if (kept?.answer.seq === answer.seq) {
        this.last.delete(answer.worker);
        this.launch(kept, null);
      } else this.settled(this.book.unverified(answer), answer.worker);
    }
  }

  // ── audits ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** @param before the audit of the same answer that this one goes on with. */
  private launch(
    kept: Kept,
    before: Audit | null,
    rival: Rival | null = before?.rival ?? null,
  ): void {
    const { options } = this;
    const { answer, bound } = kept;
    if (!kept.isOpen) {
      kept.isOpen = true;
      this.counters.audits += answer.count;
      this.counters.auditFlops += flopsOf(kept);
    }
    const attempt = before === null ? 0 : before.attempt + 1;
    const rule = this.ruleFor(kept, rival);
    const id = options.nextExecution();
    const plan = auditedPlan(bound, answer);
    const collector = new Collector(plan.slice, options.heap, options.reducers);
    const sinceMs = before?.sinceMs ?? options.now();
    this.audits.set(id, { kept, plan, collector, rule, rival, attempt, sinceMs, auditor: null });
    options.beforeSubmit();
    const paidShards = paidAudits(options.paidOf(answer.point), answer, attempt);
    options.feed({ kind: 'submitted', spec: { ...auditSpec(id, plan, rule), paidShards } });
  }

  /** The user's own workers first, of the same bits if there are any. */
  private ruleFor({ answer, owner, bitClass }: Kept, rival: Rival | null): AuditRule {
    const base = {
      excludes: new Set([answer.worker, ...(rival === null ? [] : [rival.worker])]),
      excludesOwners: new Set([owner, ...(rival === null ? [] : [rival.owner])]),
    };
    const rules: AuditRule[] = [
      { ...base, isTrustedOnly: true, bitClass },
      { ...base, isTrustedOnly: true, bitClass: null },
      { ...base, isTrustedOnly: false, bitClass },
    ];
    const last: AuditRule = { ...base, isTrustedOnly: false, bitClass: null };
    return rules.find((rule) => this.isPossible(rule)) ?? last;
  }

  private isPossible(rule: AuditRule): boolean {
    for (const member of this.options.cluster.members.values()) {
      if (mayAudit(rule, member)) return true;
    }
    return false;
  }

  private compare(audit: Audit, parts: readonly Part[]): void {
    const { kept, rival, auditor } = audit;
    const { cluster } = this.options;
    const member = auditor === null ? undefined : cluster.members.get(auditor);
    if (member === undefined) {
      this.again(audit);
      return;
    }
    const agrees = (with_: readonly Part[]): boolean =>
      member.bitClass === kept.bitClass ? isSame(with_, parts) : isClose(with_, parts);
    const finding = findingOf({
      isTrusted: member.isTrusted,
      agreesWithAnswer: agrees(kept.parts),
      agreesWithRival: rival === null ? null : agrees(rival.parts),
    });
    if (finding === 'clean') {
      this.settled(this.book.clean(kept.answer), null);
      kept.release();
      // A third one says that the second lied.
      if (rival !== null) this.accuse(rival.worker, kept, 'two others agree on another result');
    } else if (finding === 'caught') {
      const who = member.isTrusted ? 'a worker of yours gets' : 'two others agree on';
      this.catch(kept, `${who} another result`);
    } else {
      const { id: worker, owner } = member;
      this.again({ ...audit, rival: { worker, owner, parts } });
    }
  }

  private again(audit: Audit): void {
    if (audit.attempt + 1 < ATTEMPTS) this.launch(audit.kept, audit);
    else this.giveUp(audit.kept);
  }

  private end(execution: number): void {
    this.audits.get(execution)?.collector.close();
    if (this.audits.delete(execution)) this.options.onEnded();
  }

  private giveUp(kept: Kept): void {
    kept.release();
    this.settled(this.book.unverified(kept.answer), kept.answer.worker);
  }

  private settled(judgements: readonly Judgement[], unverified: WorkerId | null): void {
    this.tellHeld();
    if (judgements.length > 0) this.options.onJudged(judgements);
    if (unverified !== null) this.options.onUnverified(unverified);
  }

  private catch(kept: Kept, why: string): void {
    kept.release();
    this.accuse(kept.answer.worker, kept, why);
  }

  private accuse(worker: WorkerId, { answer }: Kept, why: string): void {
    if (this.book.isCaught(worker)) return;
    const refused = this.book.caught(worker);
    this.options.onJudged(refused);
    this.forget(worker);
    const isBuiltOn = refused.some((each) => each.answer.isEffect);
    this.options.onCaught({ worker, answer, why, isBuiltOn });
  }

  private tellHeld(): void {
    const from = this.book.heldFrom();
    if (from?.session === this.held?.session && from?.request === this.held?.request) return;
    this.held = from;
    this.options.onHeld(from);
  }
}

function flopsOf({ bound, answer }: Kept): number {
  const program = bound.plan.shards[answer.shard]?.program ?? -1;
  return answer.count * (bound.spec.programs[program]?.flops ?? 0);
}
