/**
 * @file Audits of strangers' answers: what has to be kept to repeat one, the execution that repeats it, the comparison, and
 * what follows. Which answers are audited, and what that says of others, is `core/verify/auditBook.ts`.
 *
 * The user's own workers judge. Where there are none, another owner's worker repeats the answer, and a third one decides if
 * they differ: then two owners that agree on a lie are believed. Without a third one the engine computes it anew.
 */
import type { DoneMessage, ExecutionId, LeaseId, WorkerId } from '@ravenlab/protocol';
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import { canJudge, mayAudit } from '../core/cluster/audits.js';
import type { ClusterEffect } from '../core/cluster/events.js';
import type { AuditRule, Failure, Member } from '../core/cluster/state.js';
import type { RequestPoint } from '../core/journal/paidBook.js';
import type { CommittedWork } from '../core/ledger/payLane.js';
import { isBefore } from '../core/journal/paidBook.js';
import type { Answer, Judgement } from '../core/verify/auditBook.js';
import { AuditBook } from '../core/verify/auditBook.js';
import type { CheckVerdict } from '../core/verify/checkUnit.js';
import type { Part } from '../core/verify/compare.js';
import { firstNotFinite } from '../core/verify/compare.js';
import type { Fate } from '../core/verify/fate.js';
import { fateOf } from '../core/verify/fate.js';
import { findingOf } from '../core/verify/finding.js';
import { agreesWith } from '../core/verify/recompute.js';
import type { Audit, AuditedExecution, AuditorOptions, Before, Rival } from './auditCase.js';
import { flopsOf, workOf } from './auditCase.js';
import type { AuditedPlan } from './auditedPlan.js';
import { auditKey, auditSpec, auditedPlan, paidAudits, partsOfAudit } from './auditedPlan.js';
import { Collector } from './collector.js';
import type { Kept, Said } from './keptAnswers.js';
import { KeptAnswers, agree, saidBy } from './keptAnswers.js';
import { readsData } from './planView.js';
import { isProof } from './unitChecks.js';

type Accept = Extract<ClusterEffect, { kind: 'accept' }>;

export class Auditor {
  readonly book: AuditBook;
  /** Units of strangers' answers, of those checked and of those repeated, since the start; FLOPs of all, and of both. */
  readonly counters = { answers: 0, checks: 0, audits: 0, answerFlops: 0, auditFlops: 0 };
  private readonly options: AuditorOptions;
  private readonly audits = new Map<number, Audit>();
  /** Audits that wait for somebody to come, as they were begun last. */
  private readonly waiting = new Map<Kept, Before>();
  /** Answers that the thread is checking. */
  private readonly checking = new Set<Kept>();
  private readonly shelf: KeptAnswers;
  private nextSeq = 1;
  private held: RequestPoint | null = null;
  /** Since when nobody is here who could repeat what somebody else answered; null while there is. */
  private aloneSinceMs: number | null = null;

  constructor(options: AuditorOptions) {
    this.options = options;
    const { random, cluster } = options;
    this.book = new AuditBook({ random, verified: cluster.verified });
    this.shelf = new KeptAnswers(options.pin);
  }

  /** An audit that is under way; null for any other execution. */
  executionOf(execution: number): { readonly collector: Collector } | null {
    return this.audits.get(execution) ?? null;
  }

  planOf(execution: number): AuditedPlan | null {
    return this.audits.get(execution)?.plan ?? null;
  }

  /** Whether an audit that may still come reads one of these data sets; those that only might are begun at once. */
  usesData(ids: readonly number[]): boolean {
    for (const kept of this.shelf.takeReading(ids)) {
      if (this.book.claim(kept.answer)) this.launch(kept, null);
      else kept.release();
    }
    return this.someUnderWay(({ bound }) => readsData(bound, ids));
  }

  usesProgram(hash: string): boolean {
    const uses = ({ bound }: Kept): boolean => bound.programs.some((known) => known.hash === hash);
    return this.someUnderWay(uses) || this.shelf.some(uses);
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

  /** Units of an earlier life of the engine that were not judged when it ended. */
  restore(unjudged: readonly CommittedWork[]): void {
    const now = this.options.now();
    unjudged.forEach(({ worker, session, request, shard, lease }, index) => {
      const point = { session, request };
      const which = { seq: index - unjudged.length + 1, worker, point, shard, leases: [lease] };
      this.book.restored({ ...which, isEffect: false, count: 1 }, now);
    });
  }

  /** A result is taken; called before its pieces are moved. @returns whether it was an audit's. */
  accepted(effect: Accept, done: DoneMessage | null): boolean {
    const audit = this.audits.get(effect.execution);
    const unit = done?.units[effect.index];
    if (unit?.status !== 'ok') return audit !== undefined;
    if (audit !== undefined) {
      audit.auditor = effect.worker;
      audit.leases.push(...effect.leases);
      audit.collector.accept(effect.shard, effect.count, unit.lease, unit.outputs);
      return true;
    }
    const member = this.options.cluster.members.get(effect.worker);
    const execution = this.options.executionOf(effect.execution);
    if (member === undefined || member.isTrusted || execution === null) return false;
    const parts = (): Part[] => execution.collector.partsOf(effect.shard, unit.lease, unit.outputs);
    if (this.isHopeless(member)) this.unrepeated(effect, member, execution, parts);
    else this.answered(effect, member, execution, parts());
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
    this.forgive(audit);
    // What a stranger said is a number is none where the user's own worker computes it.
    if (code === 'numeric' && audit.rule.isTrustedOnly) {
      this.catch(audit.kept, 'a worker of yours gets NaN or infinity where it sent numbers');
    } else this.fail(audit);
    return true;
  }

  /** Nothing is built on what was answered to this request. */
  withdrawn(point: RequestPoint): void {
    this.book.withdrawn(point);
    this.tellHeld();
  }

  /** Looks after what waits; to be called often, a few times `auditIdleMs`. */
  tick(): void {
    if (this.book.isWaiting) this.auditLast(this.options.now());
    for (const [execution, audit] of [...this.audits]) {
      if (this.options.cluster.executions.get(execution as ExecutionId)?.queue.length === 0)
        continue;
      if (this.isPossible(audit.rule)) continue;
      this.options.feed({ kind: 'cancelled', execution: execution as ExecutionId });
      this.end(execution);
      this.forgive(audit);
      this.goOn(audit.kept, audit);
    }
    for (const [kept, before] of [...this.waiting]) {
      this.waiting.delete(kept);
      this.goOn(kept, before);
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
    if (book.isRefused(worker)) {
      options.onJudged(book.late(answer));
      this.tellHeld();
      const why = 'it came with another one that is refused';
      const late = { worker, answer, why, isBuiltOn: isEffect };
      if (book.isCaught(worker)) options.onCaught(late);
      else options.onWithheld(late);
      return;
    }
    const kept = this.shelf.keep(answer, member, bound, parts);
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
    } else this.examine(kept, parts, isAudited);
  }

  /** Holds it against its inputs, where that can be done; then it is repeated, or shelved. */
  private examine(kept: Kept, parts: readonly Part[], isAudited: boolean): void {
    const { answer, bound, said } = kept;
    const check = this.options.checks.prepare(bound, answer, () => parts);
    if (check === null) {
      this.proceed(kept, isAudited);
      return;
    }
    this.counters.checks += answer.count;
    this.counters.auditFlops += check.flops;
    // Until it is known, no later answer vouches for it.
    this.book.claim(answer);
    if (!check.isInline) this.checking.add(kept);
    check.run((verdict) => {
      if (!this.book.isOpen(answer)) kept.release();
      else if (isProven(verdict, said.bitClass)) this.catch(kept, reasonOf(verdict));
      else {
        const isRepeated = isAudited || verdict.opinion !== 'right';
        if (!isRepeated) this.book.unclaim(answer);
        this.proceed(kept, isRepeated);
      }
      if (this.checking.delete(kept)) this.options.onEnded();
    });
  }

  private proceed(kept: Kept, isAudited: boolean): void {
    if (isAudited) this.launch(kept, null);
    else this.shelf.shelve(kept);
  }

  /** Nobody has been here for long who could repeat what this member says: nothing is kept of it. */
  private isHopeless(member: Member): boolean {
    if (this.isAnybodyBut(member.owner)) {
      this.aloneSinceMs = null;
      return false;
    }
    const now = this.options.now();
    this.aloneSinceMs ??= now;
    return now - this.aloneSinceMs >= ENGINE_LIMITS.auditWaitMs;
  }

  private isAnybodyBut(owner: string): boolean {
    for (const other of this.options.cluster.members.values()) {
      if (other.owner !== owner && canJudge(other)) return true;
    }
    return false;
  }

  /** Nobody can repeat it: what follows from its inputs is all that is checked. */
  private unrepeated(
    { shard, count, leases }: Accept,
    { id: worker, bitClass }: Member,
    { point, isEffect, bound }: AuditedExecution,
    parts: () => readonly Part[],
  ): void {
    const answer = { seq: this.nextSeq++, worker, point, isEffect, shard, count, leases };
    this.counters.answers += count;
    this.book.answered(answer, this.options.now());
    const check = this.options.checks.prepare(bound, answer, parts);
    if (check === null) {
      this.settled(this.book.unverified(answer), worker);
      return;
    }
    this.counters.checks += count;
    this.book.claim(answer);
    this.tellHeld();
    check.run((verdict) => {
      if (!this.book.isOpen(answer)) return;
      if (isProven(verdict, bitClass)) this.accuse(worker, { answer }, reasonOf(verdict));
      else this.settled(this.book.unverified(answer), worker);
    });
  }

  /** Strangers that have nothing to do any more: no later answer will vouch for their last ones. */
  private auditLast(now: number): void {
    const isAtWork = (worker: WorkerId): boolean =>
      (this.options.cluster.members.get(worker)?.leases.size ?? 0) > 0;
    for (const answer of this.book.due(now, isAtWork)) {
      const kept = this.shelf.take(answer);
      if (kept !== null) this.launch(kept, null);
      // Of an earlier life, of a worker that did not come back: its pay is what an audit of this life cannot change.
      else this.settled(this.book.unverified(answer), null);
    }
  }

  // ── audits ──────────────────────────────────────────────────────────────────────────────────────────────────────

  private someUnderWay(predicate: (kept: Kept) => boolean): boolean {
    return (
      [...this.audits.values()].some(({ kept }) => predicate(kept)) ||
      [...this.waiting.keys()].some(predicate) ||
      [...this.checking].some(predicate)
    );
  }

  /** @param before the audit of the same answer that this one goes on with. */
  private launch(kept: Kept, before: Before | null): void {
    const { options } = this;
    const { answer, bound } = kept;
    if (!kept.isOpen) {
      kept.isOpen = true;
      this.counters.audits += answer.count;
      this.counters.auditFlops += flopsOf(kept);
    }
    const attempt = before === null ? 0 : before.attempt + 1;
    const { rivals, failures, sinceMs } = before ?? {
      ...{ rivals: [], failures: 0, sinceMs: options.now() },
    };
    const rule = this.ruleFor(kept, rivals);
    const id = options.nextExecution();
    const plan = auditedPlan(bound, answer);
    const collector = new Collector(plan.slice, options.heap, options.reducers);
    const audit = { kept, plan, collector, rule, rivals, attempt, failures, sinceMs };
    this.audits.set(id, { ...audit, auditor: null, leases: [] });
    options.beforeSubmit();
    const paidShards = paidAudits(options.paidOf(answer.point), answer, attempt);
    options.feed({ kind: 'submitted', spec: { ...auditSpec(id, plan, rule), paidShards } });
  }

  /** The user's own workers first, of the same bits if there are any. */
  private ruleFor({ said }: Kept, rivals: readonly Rival[]): AuditRule {
    const asked = [said, ...rivals.map((rival) => rival.said)];
    const { bitClass } = said;
    const base = {
      excludes: new Set(asked.map(({ worker }) => worker)),
      excludesOwners: new Set(asked.map(({ owner }) => owner)),
    };
    const rules: AuditRule[] = [
      { ...base, isTrustedOnly: true, bitClass },
      { ...base, isTrustedOnly: true, bitClass: null },
      { ...base, isTrustedOnly: false, bitClass },
      { ...base, isTrustedOnly: false, bitClass: null },
    ];
    // Of what only a hash is left of, nobody else's result can be compared.
    const fitting = rules.filter((rule) => said.parts !== null || rule.bitClass !== null);
    const last = fitting[fitting.length - 1];
    if (last === undefined) throw new Error('there is no rule for an audit');
    return fitting.find((rule) => this.isPossible(rule)) ?? last;
  }

  private isPossible(rule: AuditRule): boolean {
    for (const member of this.options.cluster.members.values()) {
      if (mayAudit(rule, member) && canJudge(member)) return true;
    }
    return false;
  }

  private compare(audit: Audit, parts: readonly Part[]): void {
    const { kept, auditor } = audit;
    const member = auditor === null ? undefined : this.options.cluster.members.get(auditor);
    const work = workOf(audit);
    if (member === undefined) {
      // Gone, or banned meanwhile: its word is worth nothing any more.
      if (work !== null) this.judged(work, this.book.isCaught(work.worker));
      this.fail(audit);
      return;
    }
    const said = saidBy(member, parts);
    const rivals = audit.rivals.filter((rival) => !this.book.isCaught(rival.said.worker));
    const finding = findingOf({
      isTrusted: member.isTrusted,
      agreesWithAnswer: agree(kept.said, said),
      agreesWithRival: rivals.length === 0 ? null : rivals.some((each) => agree(each.said, said)),
    });
    if (finding === 'undecided') {
      this.goOn(kept, { ...audit, rivals: [...rivals, { said, work }] });
      return;
    }
    if (work !== null) this.judged(work, false);
    if (finding === 'clean') {
      this.settled(this.book.clean(kept.answer), null);
      kept.release();
    } else {
      const who = member.isTrusted ? 'a worker of yours gets' : 'two others agree on';
      this.catch(kept, `${who} another result`);
    }
    this.judgeRivals(kept, rivals, (rival) => agree(rival, said));
  }

  /** What it did of an audit that is not finished is paid. */
  private forgive(audit: Audit): void {
    const work = workOf(audit);
    if (work !== null) this.judged(work, false);
  }

  /** Nobody could compute it this time. */
  private fail(audit: Audit): void {
    this.goOn(audit.kept, { ...audit, failures: audit.failures + 1 }, audit.rule.isTrustedOnly);
  }

  /** Nothing is decided yet. @param isTrusted the user's own worker was asked last. */
  private goOn(kept: Kept, before: Before, isTrusted = false): void {
    // Of a cheat, and of who waits for nothing any more.
    if (!this.book.isOpen(kept.answer)) {
      this.drop(kept, before, false);
      return;
    }
    const fate = this.fateOf(kept, before, isTrusted);
    if (fate === 'redo' && this.recompute(kept, before)) return;
    this.fates[fate](kept, before);
  }

  /**
   * Strangers contradict each other, and nobody can be asked: the engine does it itself, if it can. Only within a bit class is
   * another result a lie; across two of them both may be honest, where values overflow in one of them alone.
   * @returns whether it does.
   */
  private recompute(kept: Kept, before: Before): boolean {
    const { said, bound, answer } = kept;
    const isSameClass = before.rivals.every((rival) => rival.said.bitClass === said.bitClass);
    if (before.rivals.length === 0 || !isSameClass || said.parts === null) return false;
    const isBegun = this.options.checks.recompute(bound, answer, (truth) => {
      this.checking.delete(kept);
      if (this.book.isOpen(answer)) this.decide(kept, before, truth);
      else this.drop(kept, before, false);
    });
    if (isBegun) this.checking.add(kept);
    return isBegun;
  }

  /** @param truth as the engine computed it; null: it could not. */
  private decide(kept: Kept, before: Before, truth: readonly Part[] | null): void {
    const isRight = ({ parts }: Said): boolean =>
      truth !== null && parts !== null && agreesWith(truth, parts) === true;
    const rivals = before.rivals.filter((rival) => !this.book.isCaught(rival.said.worker));
    const isTrue = isRight(kept.said);
    // All of them, or none: what tells them apart is smaller than what rounding does.
    if (rivals.every((rival) => isRight(rival.said) === isTrue)) {
      this.fates.redo(kept, before);
      return;
    }
    if (isTrue) {
      this.settled(this.book.clean(kept.answer), null);
      kept.release();
    } else this.catch(kept, 'the engine computed it anew and gets another result');
    this.judgeRivals(kept, rivals, isRight);
    this.options.onEnded();
  }

  private judgeRivals(
    kept: Kept,
    rivals: readonly Rival[],
    isRight: (said: Said) => boolean,
  ): void {
    for (const { said, work } of rivals) {
      const isLie = !isRight(said);
      if (work !== null) this.judged(work, isLie);
      if (isLie) this.accuse(said.worker, kept, 'asked to repeat it, it gave another result');
    }
  }

  private fateOf(kept: Kept, { rivals, failures, sinceMs }: Before, isTrusted: boolean): Fate {
    return fateOf({
      ...{ disputes: rivals.length, failures, isTrusted },
      isPossible: this.isPossible(this.ruleFor(kept, rivals)),
      isAnybodyHere: this.isAnybodyBut(kept.said.owner),
      waitedMs: this.options.now() - sinceMs,
    });
  }

  private readonly fates: Readonly<Record<Fate, (kept: Kept, before: Before) => void>> = {
    ask: (kept, before) => {
      this.launch(kept, before);
    },
    wait: (kept, before) => {
      this.waiting.set(kept, before);
    },
    unverified: (kept, before) => {
      this.drop(kept, before, false);
      this.settled(this.book.unverified(kept.answer), kept.answer.worker);
    },
    redo: (kept, before) => {
      this.drop(kept, before, true);
      const { answer } = kept;
      const refused = this.book.withheld(answer.worker);
      this.options.onJudged(refused);
      this.shelf.forget(answer.worker);
      this.tellHeld();
      const isBuiltOn = refused.some((each) => each.answer.isEffect);
      const why =
        before.rivals.length > 0 ? 'no two results of it agree' : 'nobody could repeat it';
      this.options.onWithheld({ worker: answer.worker, answer, why, isBuiltOn });
    },
  };

  /** An audit ends without a decision. @param isRefused what was done for it is paid to nobody. */
  private drop(kept: Kept, { rivals }: Before, isRefused: boolean): void {
    kept.release();
    for (const { work } of rivals) if (work !== null) this.judged(work, isRefused);
    this.options.onEnded();
  }

  private end(execution: number): void {
    this.audits.get(execution)?.collector.close();
    if (this.audits.delete(execution)) this.options.onEnded();
  }

  private settled(judgements: readonly Judgement[], unverified: WorkerId | null): void {
    this.tellHeld();
    if (judgements.length > 0) this.options.onJudged(judgements);
    if (unverified !== null) this.options.onUnverified(unverified);
  }

  /** Units that somebody did to repeat an answer. */
  private judged(work: Answer, isRefused: boolean): void {
    this.options.onJudged([{ answer: work, verdict: isRefused ? 'refused' : 'clean' }]);
  }

  private catch(kept: Kept, why: string): void {
    kept.release();
    this.accuse(kept.answer.worker, kept, why);
  }

  private accuse(worker: WorkerId, { answer }: Pick<Kept, 'answer'>, why: string): void {
    if (this.book.isCaught(worker)) return;
    const refused = this.book.caught(worker);
    this.options.onJudged(refused);
    this.shelf.forget(worker);
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

/** A product that no rounding explains, of a worker whose arithmetic is known. */
function isProven({ opinion }: CheckVerdict, bitClass: string): boolean {
  return opinion === 'wrong' && isProof(bitClass);
}

function reasonOf({ output, row, column }: CheckVerdict): string {
  return `output ${String(output)} is a product of values that are known here, and is wrong in its row ${String(row)}, column ${String(column)}`;
}
