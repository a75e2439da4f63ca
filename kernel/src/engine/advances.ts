/**
 * @file Workers that make the next weights themselves. Who has all units of a step will have its whole sum: it is told the
 * update (ADVANCE), and when it says that it makes it, what the result is called (KEEP), so that the next step can be there
 * before this one ends. The engine makes the same update for itself; what the worker makes only spares sending the weights.
 * Decides nothing about units.
 */
import type {
  AdvanceMessage,
  AdvanceUpdate,
  ClipRule,
  ExecutionId,
  StateId,
  StateRef,
  StateVersion,
  WorkerId,
} from '@ravenlab/protocol';
import { ENGINE_LIMITS, LIMITS, byteSizeOf, narrowRow, slotCount } from '@ravenlab/protocol';
import type { Resource } from '../core/cluster/state.js';
import type { BoundPlan } from './planView.js';
import type { SlotBlob, WorkerSession } from './session.js';
import type { Draft, Revision, StateStore } from './states.js';

interface Offer {
  readonly session: WorkerSession;
  readonly stateIds: readonly StateId[];
  /** Slots that were sent for it, to be forgotten afterwards. */
  readonly sent: readonly StateRef[];
  /** It makes the update, when its units are through. */
  isMaking: boolean;
  /** Its answer is the result. */
  isTaken: boolean;
}

/** Where a worker finds the slots of an update. */
type SlotSource = Pick<AdvanceUpdate, 'stepsDone' | 'slotsOf' | 'slots'>;

/** An update that is being made, here and there. */
interface Pending {
  readonly execution: ExecutionId;
  readonly session: WorkerSession;
  readonly stateIds: ReadonlySet<StateId>;
}

/** What a worker makes, for the scheduler. */
export interface Promised {
  readonly worker: WorkerId;
  readonly resources: readonly Resource[];
}

export class Advances {
  private readonly states: StateStore;
  private readonly offers = new Map<number, Offer>();
  /** In the order of their versions. */
  private pending: Pending[] = [];
  /** Who had all units of the last step: slots are sent to who has all again, not to several in turn. */
  private last: WorkerSession | null = null;
  /** Times in a row that slots were sent in vain. */
  private readonly vain = new WeakMap<WorkerSession, number>();
  private nextSlotVersion: number = LIMITS.firstSlotVersion;

  constructor(states: StateStore) {
    this.states = states;
  }

  /** Before the RUN of these units: tells the worker the update, if all of a step is in one answer of it. */
  offer(
    session: WorkerSession,
    bound: BoundPlan,
    execution: number,
    groups: readonly (readonly unknown[])[],
  ): void {
    const { plan } = bound;
    const isWhole = groups.length === 1 && groups[0]?.length === plan.shards.length;
    // What is rounded on its way is another gradient than the one that the worker has.
    const isNarrow = bound.sums.some((form) => narrowRow(form) !== null);
    if (isNarrow || plan.step === null || plan.updates.length === 0) return;
    const isAgain = this.last === session;
    this.last = isWhole ? session : null;
    if (!isWhole) return;
    const canSend = isAgain && (this.vain.get(session) ?? 0) < ENGINE_LIMITS.slotsInVain;
    const blobs: SlotBlob[] = [];
    const message = this.messageOf(
      session,
      bound,
      execution as ExecutionId,
      canSend ? blobs : null,
    );
    if (message === null) return;
    const stateIds = message.updates.map(({ state }) => state.stateId);
    const sent = blobs.map(({ ref }) => ref);
    if (sent.length > 0) this.vain.set(session, (this.vain.get(session) ?? 0) + 1);
    this.offers.set(execution, { session, stateIds, sent, isMaking: false, isTaken: false });
    session.advance(message, blobs);
  }

  /** A worker will make the update that it was told. @returns whether it was told one. */
  making(session: WorkerSession, execution: number): boolean {
    const offer = this.offers.get(execution);
    if (offer?.session !== session) return false;
    offer.isMaking = true;
    return true;
  }

  /** It did not after all: it has not got the slots that it would have. What it was promised it asks for. */
  unmade(session: WorkerSession, execution: number): void {
    const offer = this.offers.get(execution);
    if (offer?.session !== session) return;
    offer.isMaking = false;
    // What is made from it is not made either.
    const first = this.pending.findIndex((each) => each.execution === execution);
    if (first >= 0) this.pending.length = first;
  }

  /** A worker's answer for `count` of `of` micro-shards counts. */
  accepted(execution: number, worker: WorkerId, count: number, of: number): void {
    const offer = this.offers.get(execution);
    if (offer?.session.worker !== worker || count !== of) return;
    offer.isTaken = true;
    if (offer.isMaking) this.vain.delete(offer.session);
  }

  /** Whether the result of an execution is that of the worker which makes the update too. */
  isTaken(execution: number): boolean {
    return this.offers.get(execution)?.isTaken === true;
  }

  canKeep(execution: number): boolean {
    return this.offers.get(execution)?.isMaking === true;
  }

  /** Promises these drafts: the worker that makes the update has the same, under their names. @returns null when nobody makes it. */
  keep(execution: ExecutionId, drafts: readonly Draft[]): Promised | null {
    const offer = this.offers.get(execution);
    if (offer?.isMaking !== true) return null;
    this.states.promise(drafts);
    const revisions = offer.stateIds.flatMap((stateId): Revision[] => {
      const revision = drafts.find((draft) => draft.stateId === stateId)?.revision ?? null;
      return revision === null ? [] : [revision];
    });
    const { session } = offer;
    this.pending.push({ execution, session, stateIds: new Set(offer.stateIds) });
    session.send({
      kind: 'keep',
      execution,
      states: revisions.map(({ stateId, wireVersion: version }) => ({ stateId, version })),
    });
    const resources = revisions.map(({ resource }) => resource);
    return { worker: session.worker, resources };
  }

  /** The drafts of an execution are the newest version now. */
  commit(execution: ExecutionId, drafts: readonly Draft[]): StateVersion {
    const pending = this.pending.find((each) => each.execution === execution);
    this.forget(execution);
    return this.states.commit(drafts, ({ stateId }) =>
      pending?.stateIds.has(stateId) === true ? pending : null,
    );
  }

  /** Committed, failed or cancelled. */
  ended(execution: number): void {
    const offer = this.offers.get(execution);
    this.offers.delete(execution);
    if (offer !== undefined && offer.sent.length > 0)
      offer.session.send({ kind: 'drop', programs: [], states: offer.sent, data: [], blocks: [] });
    this.forget(execution);
  }

  private forget(execution: number): void {
    this.pending = this.pending.filter((each) => each.execution !== execution);
  }

  private messageOf(
    session: WorkerSession,
    { plan, inputs }: BoundPlan,
    execution: ExecutionId,
    blobs: SlotBlob[] | null,
  ): AdvanceMessage | null {
    const read = new Map<StateId, Revision>();
    for (const input of inputs) {
      if (input.kind === 'state') read.set(input.revision.stateId, input.revision);
    }
    const updates: AdvanceUpdate[] = [];
    let bytes = 0;
    for (const { stateId, rule, optimizerId, output } of plan.updates) {
      // Whether the step is made at all shows in its whole sum, here.
      if (rule.name === 'lossScale') return null;
      const clip = plan.clips.findIndex((each) => each.optimizerId === optimizerId);
      const revision = read.get(stateId);
      // Others begin with another version than the one that the worker was sent.
      const isNewest = revision !== undefined && this.states.isNewest(revision);
      const slots = isNewest
        ? this.slotsOf(session, revision, { optimizerId, count: slotCount(rule) }, blobs)
        : null;
      if (revision === undefined || slots === null) {
        // A norm is over all gradients of an optimizer, or it is another one.
        if (clip >= 0) return null;
        continue;
      }
      const state = { stateId, version: revision.wireVersion };
      updates.push({ state, output, rule, optimizerId, clip, ...slots });
      bytes += byteSizeOf(revision.type);
    }
    // What is small is as soon sent.
    if (bytes <= ENGINE_LIMITS.inlineReduceBytes) return null;
    const clips = plan.clips.map(({ kind, max }): ClipRule => ({ kind, max }));
    return { kind: 'advance', execution, clips, updates };
  }

  /** Where a worker finds the slots of an update; null when it has not got them. */
  private slotsOf(
    session: WorkerSession,
    revision: Revision,
    { optimizerId, count }: { readonly optimizerId: number; readonly count: number },
    blobs: SlotBlob[] | null,
  ): SlotSource | null {
    const fresh: SlotSource = { stepsDone: 0, slotsOf: 0 as ExecutionId, slots: [] };
    const makers = this.pending.filter(({ stateIds }) => stateIds.has(revision.stateId));
    const maker = makers.at(-1);
    if (revision.isPromised && maker?.session !== session) return null;
    if (count === 0) return fresh;
    const slots = this.states.slotsOf(revision.stateId, optimizerId);
    if (slots?.blocks.length !== count) return revision.isPromised ? null : fresh;
    if (revision.isPromised && maker !== undefined)
      return {
        stepsDone: slots.stepsDone + makers.length,
        slotsOf: maker.execution,
        slots: [],
      };
    const { stepsDone, keeper } = slots;
    if (keeper?.session === session) return { stepsDone, slotsOf: keeper.execution, slots: [] };
    if (blobs === null) return null;
    const { stateId } = revision;
    const own = this.states.copySlots(stateId, optimizerId).map((bytes): SlotBlob => {
      const version = this.nextSlotVersion++ as StateVersion;
      return { ref: { stateId, version }, bytes };
    });
    blobs.push(...own);
    return { stepsDone, slotsOf: 0 as ExecutionId, slots: own.map(({ ref }) => ref) };
  }
}
