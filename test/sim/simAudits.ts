/**
 * @file Audits in simulation: the engine's real book of answers, with a number for a tensor. Strangers' answers are kept,
 * repeated by others and compared; who lies is caught.
 */
import type { ExecutionId, WorkerId } from '@ravenlab/protocol';
import { mayAudit } from '../../kernel/src/core/cluster/audits.js';
import type { ClusterEffect, ClusterEvent } from '../../kernel/src/core/cluster/events.js';
import type {
  AuditRule,
  ClusterState,
  ExecutionSpec,
} from '../../kernel/src/core/cluster/state.js';
import type { RequestPoint } from '../../kernel/src/core/journal/paidBook.js';
import type { Answer } from '../../kernel/src/core/verify/auditBook.js';
import { AuditBook } from '../../kernel/src/core/verify/auditBook.js';
import type { Flaw } from './canaries.js';
import type { SimContext } from './context.js';
import type { SimRun } from './messages.js';
import { GRACE_MS } from './simEngineParts.js';
import type { SimJournal } from './simJournal.js';

type Accept = Extract<ClusterEffect, { kind: 'accept' }>;

/** The execution that an answer is part of. */
export interface AuditedExecution {
  readonly point: RequestPoint;
  readonly isEffect: boolean;
  readonly salt: number;
  readonly wire: number;
  readonly dataId: number;
  readonly spec: ExecutionSpec;
}

interface Kept {
  readonly answer: Answer;
  readonly execution: AuditedExecution;
  readonly value: number;
}

interface Rival {
  readonly worker: WorkerId;
  readonly value: number;
}

export interface Audit extends Kept {
  readonly rule: AuditRule;
  readonly rival: Rival | null;
  by: WorkerId | null;
  result: number;
}

export interface AuditsOptions {
  readonly context: SimContext;
  readonly state: ClusterState;
  readonly flaw: Flaw | null;
  readonly feed: (event: ClusterEvent) => void;
  readonly nextExecution: () => ExecutionId;
  readonly after: (delayMs: number, act: () => void) => void;
  readonly onHeld: (from: RequestPoint | null) => void;
  /** @param isBuiltOn weights may have been made of what it did. */
  readonly onCaught: (worker: WorkerId, isBuiltOn: boolean) => void;
  /** What waited for the data of an audit may go on. */
  readonly onEnded: () => void;
}

const TICK_MS = 100;
const PARTS = 2 ** 24;

export class SimAudits {
  private readonly options: AuditsOptions;
  private readonly book: AuditBook;
  private readonly audits = new Map<ExecutionId, Audit>();
  private readonly last = new Map<WorkerId, Kept>();
  private nextSeq = 1;
  private isTicking = false;
  private hasCaught = false;

  constructor(options: AuditsOptions) {
    this.options = options;
    const { work } = options.context;
    this.book = new AuditBook({
      random: () => work.between(0, PARTS - 1) / PARTS,
      verified: options.state.verified,
    });
  }

  /** Everything that was taken is vouched for. */
  get isSettled(): boolean {
    return this.book.heldFrom() === null && !this.hasCaught;
  }

  auditOf(execution: ExecutionId): Audit | null {
    return this.audits.get(execution) ?? null;
  }

  /** Nothing may be read by an audit any more. */
  isIdle(): boolean {
    return this.audits.size === 0 && this.last.size === 0;
  }

  /** What only might be audited later is audited now: its data set is about to end. @returns whether nothing is left. */
  release(): boolean {
    for (const [worker, kept] of [...this.last]) {
      this.last.delete(worker);
      if (this.book.claim(kept.answer)) this.launch(kept, null);
    }
    return this.audits.size === 0;
  }

  /** @returns whether the result was an audit's. */
  accepted(effect: Accept, value: number, execution: AuditedExecution | null): boolean {
    const audit = this.audits.get(effect.execution);
    if (audit !== undefined) {
      audit.by = effect.worker;
      audit.result = value;
      return true;
    }
    const { worker, shard, count, leases } = effect;
    if (execution === null || this.options.state.members.get(worker)?.isTrusted !== false) {
      return false;
    }
    const { point, isEffect } = execution;
    const answer: Answer = { seq: this.nextSeq++, worker, point, isEffect, shard, count, leases };
    const kept = { answer, execution, value };
    const isAudited = this.book.answered(answer, this.options.context.heap.nowMs);
    this.tellHeld();
    this.last.delete(worker);
    if (isAudited) this.launch(kept, null);
    else this.last.set(worker, kept);
    this.tickLater();
    return false;
  }

  /** All of an audit is in. @returns whether it was one. */
  complete(execution: ExecutionId): boolean {
    const audit = this.audits.get(execution);
    if (audit === undefined) return false;
    this.options.feed({ kind: 'reduced', execution, failure: null });
    this.audits.delete(execution);
    this.compare(audit);
    this.options.onEnded();
    return true;
  }

  /** Workers could not do it: somebody else tries. @returns whether it was an audit. */
  failed(execution: ExecutionId): boolean {
    const audit = this.audits.get(execution);
    if (audit === undefined) return false;
    this.audits.delete(execution);
    this.launch(audit, audit.rival);
    return true;
  }

  withdrawn(point: RequestPoint): void {
    this.book.withdrawn(point);
    this.tellHeld();
  }

  private launch(kept: Kept, rival: Rival | null): void {
    const { flaw, nextExecution, feed } = this.options;
    if (flaw === 'noAudit') {
      this.book.clean(kept.answer);
      this.tellHeld();
      return;
    }
    const id = nextExecution();
    const rule = this.ruleFor(kept.answer, rival);
    const { answer, execution, value } = kept;
    this.audits.set(id, { answer, execution, value, rule, rival, by: null, result: Number.NaN });
    const { spec } = execution;
    const units = spec.units.slice(answer.shard, answer.shard + answer.count);
    const { paidShards: _paid, ...rest } = spec;
    feed({
      kind: 'submitted',
      spec: { ...rest, id, run: null, units, isMergeable: true, audit: rule },
    });
    this.tickLater();
  }

  private ruleFor({ worker }: Answer, rival: Rival | null): AuditRule {
    const excludes = new Set([worker, ...(rival === null ? [] : [rival.worker])]);
    const trusted = { excludes, excludesOwners: new Set<string>(), isTrustedOnly: true };
    const rule: AuditRule = { ...trusted, bitClass: null };
    return this.isPossible(rule) ? rule : { ...rule, isTrustedOnly: false };
  }

  private isPossible(rule: AuditRule): boolean {
    for (const member of this.options.state.members.values()) {
      if (mayAudit(rule, member)) return true;
    }
    return false;
  }

  private compare(audit: Audit): void {
    const { answer, value, result, by, rival } = audit;
    const isTrusted = by !== null && this.options.state.members.get(by)?.isTrusted === true;
    const { flaw } = this.options;
    if (Object.is(value, result)) {
      this.book.clean(answer);
      this.tellHeld();
      if (rival !== null) this.catch(rival.worker);
    } else if (isTrusted) this.catch(flaw === 'harshAudit' ? by : answer.worker);
    else if (rival === null && by !== null) this.launch(audit, { worker: by, value: result });
    else if (Object.is(result, rival?.value)) this.catch(answer.worker);
    else this.launch(audit, null);
  }

  private catch(worker: WorkerId): void {
    if (this.book.isCaught(worker)) return;
    const isBuiltOn = this.book.caught(worker).some(({ answer }) => answer.isEffect);
    this.hasCaught ||= isBuiltOn;
    this.last.delete(worker);
    this.options.onCaught(worker, isBuiltOn);
  }

  private tellHeld(): void {
    if (this.options.flaw !== 'noHold') this.options.onHeld(this.book.heldFrom());
  }

  /** While anything waits. */
  private tickLater(): void {
    if (this.isTicking) return;
    this.isTicking = true;
    this.options.after(TICK_MS, () => {
      this.isTicking = false;
      this.tick();
      if (this.audits.size > 0 || this.book.isWaiting) this.tickLater();
    });
  }

  private tick(): void {
    const { state, context, feed } = this.options;
    const isAtWork = (worker: WorkerId): boolean =>
      (state.members.get(worker)?.leases.size ?? 0) > 0;
    for (const answer of this.book.due(context.heap.nowMs, isAtWork)) this.auditLast(answer);
    if (this.audits.size === 0) return;
    for (const [execution, audit] of [...this.audits]) {
      const isWaiting = (state.executions.get(execution)?.queue.length ?? 0) > 0;
      // Nobody who may do it is here, or a better judge has come.
      if (!isWaiting || this.isPossible(audit.rule)) continue;
      feed({ kind: 'cancelled', execution });
      this.audits.delete(execution);
      this.launch(audit, audit.rival);
    }
  }

  private auditLast(answer: Answer): void {
    const kept = this.last.get(answer.worker);
    this.last.delete(answer.worker);
    if (kept?.answer.seq === answer.seq) this.launch(kept, null);
  }
}

/** What the engine does about audits, beside running them. */
interface AuditedLife {
  readonly journal: SimJournal;
  drained(): void;
  convict(worker: WorkerId): void;
  die(): void;
}

export function auditsOf(
  life: AuditedLife,
  options: Omit<AuditsOptions, 'onHeld' | 'onEnded' | 'onCaught'> & {
    readonly onCaught: (worker: WorkerId) => void;
  },
): SimAudits {
  const { context, state, flaw, feed, nextExecution, after } = options;
  return new SimAudits({
    context,
    state,
    flaw,
    feed,
    nextExecution,
    after,
    onHeld: (from) => {
      life.journal.feed({ kind: 'held', from });
    },
    onEnded: () => {
      life.drained();
    },
    onCaught: (worker, isBuiltOn) => {
      options.onCaught(worker);
      if (!isBuiltOn) {
        life.convict(worker);
        return;
      }
      life.journal.feed({ kind: 'abandon' });
      after(GRACE_MS, () => {
        life.die();
      });
    },
  });
}

/** The same units again, by their own numbers. */
export function runOfAudit(
  { leaseMs, groups, execution }: Extract<ClusterEffect, { kind: 'run' }>,
  { answer, execution: { salt, wire: version, dataId } }: Audit,
): SimRun & { readonly kind: 'run' } {
  const numbered = groups.map((group) =>
    group.map(({ lease, shard }) => ({ lease, shard: answer.shard + shard })),
  );
  return { kind: 'run', execution, salt, version, dataId, leaseMs, groups: numbered };
}
