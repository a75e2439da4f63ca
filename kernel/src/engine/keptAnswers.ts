/**
 * @file Answers of strangers with all that it takes to repeat them: the last one of each that is not audited yet, and those
 * under audit. Bounded: beyond, a hash stands for the bytes, which is enough for a judge of the same bit class.
 */
import { createHash } from 'node:crypto';
import type { WorkerId } from '@ravenlab/protocol';
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import type { Member } from '../core/cluster/state.js';
import type { Answer } from '../core/verify/auditBook.js';
import type { Part } from '../core/verify/compare.js';
import { isClose, isSame } from '../core/verify/compare.js';
import type { BoundPlan } from './planView.js';
import { readsData } from './planView.js';
import type { Revision } from './states.js';

/** What somebody says the result is. */
export interface Said {
  readonly worker: WorkerId;
  readonly owner: string;
  readonly bitClass: string;
  /** Null: too much to keep, only `hash` is. */
  parts: readonly Part[] | null;
  hash: string | null;
}

/** An answer and all that it takes to repeat it. */
export interface Kept {
  readonly answer: Answer;
  readonly bound: BoundPlan;
  readonly said: Said;
  readonly sizeBytes: number;
  readonly release: () => void;
  isOpen: boolean;
}

export class KeptAnswers {
  private readonly pin: (revision: Revision) => () => void;
  private readonly last = new Map<WorkerId, Kept>();
  private sizeBytes = 0;

  constructor(pin: (revision: Revision) => () => void) {
    this.pin = pin;
  }

  keep(answer: Answer, member: Member, bound: BoundPlan, parts: readonly Part[]): Kept {
    const releases = bound.revisions.map((revision) => this.pin(revision));
    const sizeBytes = parts.reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
    this.sizeBytes += sizeBytes;
    const said = saidBy(member, parts);
    const release = (): void => {
      if (said.parts !== null) this.sizeBytes -= sizeBytes;
      said.parts = null;
      for (const each of releases.splice(0)) each();
    };
    return { answer, bound, said, sizeBytes, release, isOpen: false };
  }

  /** It is its worker's last one: it is audited if none follows. */
  shelve(kept: Kept): void {
    const { worker, seq } = kept.answer;
    // One that came later was through with its check sooner.
    if ((this.last.get(worker)?.answer.seq ?? 0) > seq) {
      kept.release();
      return;
    }
    this.forget(worker);
    this.last.set(worker, kept);
    const { said, sizeBytes } = kept;
    if (this.sizeBytes <= ENGINE_LIMITS.auditBytes || said.parts === null) return;
    said.hash = hashOf(said.parts);
    said.parts = null;
    this.sizeBytes -= sizeBytes;
  }

  /** @returns the worker's last answer, if it is this one; it is the caller's from now on. */
  take({ worker, seq }: Answer): Kept | null {
    const kept = this.last.get(worker);
    if (kept?.answer.seq !== seq) return null;
    this.last.delete(worker);
    return kept;
  }

  forget(worker: WorkerId): void {
    this.last.get(worker)?.release();
    this.last.delete(worker);
  }

  /** Last answers to requests that read one of these data sets; they are the caller's from now on. */
  takeReading(ids: readonly number[]): Kept[] {
    const taken = [...this.last.values()].filter(({ bound }) => readsData(bound, ids));
    for (const { answer } of taken) this.last.delete(answer.worker);
    return taken;
  }

  some(predicate: (kept: Kept) => boolean): boolean {
    for (const kept of this.last.values()) if (predicate(kept)) return true;
    return false;
  }
}

export function saidBy(member: Member, parts: readonly Part[]): Said {
  return {
    ...{ worker: member.id, owner: member.owner, bitClass: member.bitClass },
    ...{ parts, hash: null },
  };
}

/** Whether both say the same: to the bit within a bit class, else as far as rounding goes. */
export function agree(a: Said, b: Said): boolean {
  if (a.parts !== null && b.parts !== null) {
    return a.bitClass === b.bitClass ? isSame(a.parts, b.parts) : isClose(a.parts, b.parts);
  }
  return a.bitClass === b.bitClass && hashOfSaid(a) === hashOfSaid(b);
}

function hashOfSaid({ parts, hash }: Said): string {
  return hash ?? hashOf(parts ?? []);
}

function hashOf(parts: readonly Part[]): string {
  const hash = createHash('sha256');
  for (const { bytes } of parts) hash.update(bytes);
  return hash.digest('hex');
}
