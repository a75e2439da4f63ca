/**
 * @file The worker's lease machine: events in, effects out. Pure and synchronous; no bytes, sockets or threads. A unit
 * runs when its program and every tensor it names are here; until then it waits, and what is missing is asked for once.
 */
import type {
  BlockRef,
  DoneUnit,
  LeaseId,
  RunMessage,
  StateRef,
  WireError,
} from '@ravenlab/protocol';
import { WORKER_LIMITS, byteSizeOf, formatBytes, wireBytes } from '@ravenlab/protocol';
import { announce, begun, keep, made, takeUnmade } from './advance.js';
import { moveLease } from './leaseTable.js';
import type { LeaseCause } from './leaseTable.js';
import type { WorkerEffect, WorkerEvent } from './events.js';
import type {
  Batch,
  BlobKey,
  BlobRef,
  ProgramEntry,
  ProgramInfo,
  Unit,
  WorkerState,
} from './state.js';
import { blockKey, blocksOf, isComplete, stateKey, usedBytes } from './state.js';
import { misfit } from './admission.js';

type EventOf<K extends WorkerEvent['kind']> = Extract<WorkerEvent, { kind: K }>;
type Handlers = {
  readonly [K in WorkerEvent['kind']]: (state: WorkerState, event: EventOf<K>) => WorkerEffect[];
};

/** Takes one event and returns what to do, in order. */
export function step(state: WorkerState, event: WorkerEvent): WorkerEffect[] {
  const handler = HANDLERS[event.kind] as (
    state: WorkerState,
    event: WorkerEvent,
  ) => WorkerEffect[];
  const effects = handler(state, event);
  if (state.advances.size > 0) effects.push(...giveUp(state));
  return effects;
}

const HANDLERS: Handlers = {
  program: (state, { index, entry }) => {
    state.programs.set(index, entry);
    return waitingBatches(state).flatMap((batch) =>
      batch.run.program === index ? advance(state, batch) : [],
    );
  },
  chunk: takeChunk,
  run: takeRun,
  advance: (state, { message }) => announce(state, message),
  advanced: (state, { execution }) => {
    const { effects, keys } = made(state, execution);
    return [...effects, ...supply(state, keys)];
  },
  keep: (state, event) => {
    const { effects, keys } = keep(state, event);
    return [...effects, ...supply(state, keys)];
  },
  cancel: cancelUnits,
  drop: dropResources,
  computed: finishUnits,
  crashed: (state, { error }) => {
    const lost = [...state.batches.values()];
    const guilty = runningBatch(lost);
    state.blobs.clear();
    state.heldBytes = 0;
    state.reservedBytes = 0;
    state.advances.clear();
    return lost.flatMap((batch) =>
      failBatch(state, batch, batch === guilty ? error : lostWith(error), 'crash'),
    );
  },
  // The engine voids the leases of a lost connection and numbers programs anew; whole tensors are kept.
  disconnected: (state) => {
    const skips = [...state.batches.values()].flatMap((batch) => drop(state, batch.units));
    const partial = [...state.blobs].filter(([, blob]) => !isComplete(blob));
    const keys = partial.map(([key]) => forget(state, key));
    state.programs.clear();
    const slots: WorkerEffect[] = state.reservedBytes > 0 ? [{ kind: 'forgetSlots' }] : [];
    state.reservedBytes = 0;
    state.advances.clear();
    const forgets: WorkerEffect[] = keys.length === 0 ? [] : [{ kind: 'forget', keys }];
    return [...skips, ...forgets, ...slots];
  },
};

/** Units run one after another: of what was started, the first is what ran. */
function runningBatch(batches: readonly Batch[]): Batch | null {
  return batches.reduce<Batch | null>(
    (first, batch) =>
      batch.started && (first === null || batch.order < first.order) ? batch : first,
    null,
  );
}

/** Of what was not running the reason says nothing: its program is not too large because another one was. */
function lostWith(error: WireError): WireError {
  return { ...error, code: 'internal' };
}

function waitingBatches(state: WorkerState): Batch[] {
  return [...state.batches.values()].filter((batch) => !batch.started);
}

/** Updates that are not made any more: the engine is told, and what waits for them asks for it. */
function giveUp(state: WorkerState): WorkerEffect[] {
  return takeUnmade(state).flatMap(({ execution, kept }): WorkerEffect[] => {
    const unmade: WorkerEffect = { kind: 'unmade', execution };
    const gone = (kept ?? []).filter((key) => state.blobs.get(key)?.isMaking === true);
    for (const key of gone) forget(state, key);
    const waiting = waitingBatches(state).flatMap((batch) => {
      const lost = gone.filter((key) => batch.missing.delete(key));
      const need = lost.length === 0 ? null : missingOf(state, batch);
      return need === null ? [] : [need];
    });
    return [unmade, ...waiting];
  });
}

// ---------------------------------------------------------------- tensors

function keyOf(ref: BlobRef): BlobKey {
  return ref.kind === 'state' ? stateKey(ref) : blockKey(ref);
}

function takeChunk(state: WorkerState, event: EventOf<'chunk'>): WorkerEffect[] {
  const key = keyOf(event.ref);
  const known = state.blobs.get(key);
  // Versions and blocks never change, so a second copy of a whole one says nothing new.
  if (isComplete(known)) return [];
  const begins = event.offsetBytes === 0;
  if (begins && known !== undefined) forget(state, key);
  const blob = begins
    ? { ref: event.ref, totalBytes: event.totalBytes, receivedBytes: 0, isMaking: false }
    : known;
  // Pieces come in order; one that does not is the tail of something dropped or refused.
  if (blob?.receivedBytes !== event.offsetBytes || blob.totalBytes !== event.totalBytes) return [];
  if (begins) {
    if (usedBytes(state) + event.totalBytes > state.budgetBytes)
      return refuseBlob(state, key, event);
    state.blobs.set(key, blob);
    state.heldBytes += event.totalBytes;
  }
  blob.receivedBytes += event.bytes;
  const ends = isComplete(blob);
  const store: WorkerEffect = { kind: 'store', key, begins, ends };
  if (!ends) return [store];
  return [store, ...supply(state, [key])];
}

/** Starts what waited for these. */
function supply(state: WorkerState, keys: readonly BlobKey[]): WorkerEffect[] {
  return waitingBatches(state).flatMap((batch) => {
    const had = keys.filter((key) => batch.missing.delete(key));
    return had.length > 0 ? advance(state, batch) : [];
  });
}

function refuseBlob(state: WorkerState, key: BlobKey, event: EventOf<'chunk'>): WorkerEffect[] {
  const error = overBudget(state, `a tensor of ${formatBytes(event.totalBytes)}`);
  return waitingBatches(state)
    .filter((batch) => batch.missing.has(key))
    .flatMap((batch) => failBatch(state, batch, error, 'refuse'));
}

function overBudget(state: WorkerState, what: string): WireError {
  return {
    code: 'limit',
    message:
      `${what} does not fit: ${formatBytes(usedBytes(state))} of ${formatBytes(state.budgetBytes)} are in use; ` +
      'use a smaller model or micro-shard, or start the worker with a larger --memory',
    fault: 'remote',
    retryable: true,
  };
}

function forget(state: WorkerState, key: BlobKey): BlobKey {
  state.heldBytes -= state.blobs.get(key)?.totalBytes ?? 0;
  state.blobs.delete(key);
  return key;
}

function dropResources(state: WorkerState, event: EventOf<'drop'>): WorkerEffect[] {
  const effects: WorkerEffect[] = [];
  for (const index of event.programs) {
    const entry = state.programs.get(index);
    state.programs.delete(index);
    if (entry?.kind === 'known') effects.push({ kind: 'forgetProgram', hash: entry.info.hash });
  }
  const whole = new Set(event.data);
  const keys = [...event.states.map(stateKey), ...event.blocks.map(blockKey)];
  for (const [key, { ref }] of state.blobs) {
    if (ref.kind === 'block' && whole.has(ref.dataId)) keys.push(key);
  }
  const held = keys.filter((key) => state.blobs.has(key)).map((key) => forget(state, key));
  if (held.length > 0) effects.push({ kind: 'forget', keys: held });
  return effects;
}

// ---------------------------------------------------------------- units

function takeRun(state: WorkerState, { run }: EventOf<'run'>): WorkerEffect[] {
  begun(state, run.execution);
  const batch: Batch = {
    id: state.nextBatch++,
    run,
    units: [],
    missing: new Set(),
    open: run.units.length,
    started: false,
    order: 0,
    outputBytes: [],
    program: null,
  };
  const units = batch.units as Unit[];
  for (const [index, { lease }] of run.units.entries()) {
    units.push({ lease, batch, index, status: 'waiting' });
  }
  const refusal = whyFull(state, units);
  if (refusal !== null) {
    return [
      failEffect(
        run,
        units.map((unit) => failed(unit.lease, refusal)),
      ),
    ];
  }
  state.batches.set(batch.id, batch);
  for (const unit of units) state.leases.set(unit.lease, unit);
  const need = missingOf(state, batch);
  return need === null ? advance(state, batch) : [need, ...advance(state, batch)];
}

function whyFull(state: WorkerState, units: readonly Unit[]): WireError | null {
  const isFull =
    state.batches.size >= WORKER_LIMITS.batches ||
    state.leases.size + units.length > WORKER_LIMITS.units;
  const isRepeated =
    new Set(units.map((unit) => unit.lease)).size !== units.length ||
    units.some((unit) => state.leases.has(unit.lease));
  if (!isFull && !isRepeated && !state.draining) return null;
  const [message, retryable] = isRepeated
    ? ['a lease was granted twice', false]
    : state.draining
      ? ['the worker is draining and takes no new units', true]
      : [`the worker holds ${String(state.leases.size)} units already`, true];
  return { code: 'cluster', message, fault: 'remote', retryable };
}

/** Notes what the batch lacks; returns the request for that part of it that is not on its way. */
function missingOf(state: WorkerState, batch: Batch): WorkerEffect | null {
  const states: StateRef[] = [];
  const blocks: BlockRef[] = [];
  const isAskedFor = (key: BlobKey): boolean => {
    if (isComplete(state.blobs.get(key)) || batch.missing.has(key)) return false;
    batch.missing.add(key);
    return !state.blobs.has(key) && !isMissedByOthers(state, batch, key);
  };
  for (const input of batch.run.inputs) {
    if (input.kind === 'state') {
      const { stateId, version } = input;
      if (isAskedFor(stateKey(input))) states.push({ stateId, version });
    } else if (input.kind === 'rows' || input.kind === 'data') {
      blocks.push(...blocksOf(input).filter((block) => isAskedFor(blockKey(block))));
    }
  }
  const { program } = batch.run;
  const programs = state.programs.has(program) ? [] : [program];
  const isNothing = programs.length + states.length + blocks.length === 0;
  return isNothing ? null : { kind: 'need', programs, states, blocks };
}

function isMissedByOthers(state: WorkerState, batch: Batch, key: BlobKey): boolean {
  return waitingBatches(state).some((other) => other !== batch && other.missing.has(key));
}

/** Starts a batch that lacks nothing any more, or fails it when it cannot run here. */
function advance(state: WorkerState, batch: Batch): WorkerEffect[] {
  if (batch.started || batch.open === 0 || batch.missing.size > 0) return [];
  const entry = state.programs.get(batch.run.program);
  if (entry === undefined) return [];
  // A tensor may have been dropped while the batch waited for another one.
  const need = missingOf(state, batch);
  if (batch.missing.size > 0) return need === null ? [] : [need];
  const problem = whyNot(state, batch, entry);
  if (problem !== null) return failBatch(state, batch, problem, 'refuse');
  if (entry.kind !== 'known') return [];
  batch.started = true;
  batch.order = state.startedBatches++;
  batch.outputBytes = answerBytes(batch.run, entry.info);
  batch.program = entry.info;
  for (const unit of batch.units) if (unit.status === 'waiting') moveLease(unit, 'supply');
  return [{ kind: 'start', batch, hash: entry.info.hash }];
}

/** Bytes of each output of an answer. */
function answerBytes({ merge }: RunMessage, { outputs }: ProgramInfo): number[] {
  return outputs.map((type, index) => wireBytes(byteSizeOf(type), merge?.sums[index] ?? 'first'));
}

function whyNot(state: WorkerState, batch: Batch, entry: ProgramEntry): WireError | null {
  if (entry.kind === 'refused') return entry.error;
  const { info } = entry;
  const message = misfit(batch.run, info, (key) => state.blobs.get(key)?.totalBytes);
  if (message !== null) return { code: 'protocol', message, fault: 'remote', retryable: false };
  const runBytes = info.peakBytes + assembledBytes(batch.run, info);
  if (usedBytes(state) + runBytes > state.budgetBytes) {
    return overBudget(state, `a program that takes ${formatBytes(runBytes)} to run`);
  }
  return null;
}

/** Inputs that are put together for a run; states are used where they lie. */
function assembledBytes(run: RunMessage, info: ProgramInfo): number {
  return info.inputs.reduce(
    (sum, type, index) => (run.inputs[index]?.kind === 'state' ? sum : sum + byteSizeOf(type)),
    0,
  );
}

function finishUnits(state: WorkerState, event: EventOf<'computed'>): WorkerEffect[] {
  const batch = state.batches.get(event.batch);
  if (batch === undefined) return [];
  const units = event.units.filter((position) => {
    const unit = batch.units[position];
    if (unit?.status !== 'queued') return false;
    close(state, unit, 'finish');
    return true;
  });
  return units.length === 0 ? [] : [{ kind: 'answer', batch, units }];
}

function cancelUnits(state: WorkerState, event: EventOf<'cancel'>): WorkerEffect[] {
  const executions = new Set(event.executions);
  const named = event.leases.flatMap((lease) => state.leases.get(lease) ?? []);
  const whole = [...state.batches.values()]
    .filter((batch) => executions.has(batch.run.execution))
    .flatMap((batch) => batch.units);
  return drop(state, [...named, ...whole]);
}

/** Ends units without an answer; those on the compute thread are skipped there. */
function drop(state: WorkerState, units: readonly Unit[]): WorkerEffect[] {
  const skips = new Map<number, number[]>();
  for (const unit of units) {
    if (unit.status === 'answered' || unit.status === 'dropped') continue;
    if (unit.status === 'queued') {
      const positions = skips.get(unit.batch.id) ?? [];
      positions.push(unit.index);
      skips.set(unit.batch.id, positions);
    }
    close(state, unit, 'cancel');
  }
  return [...skips].map(([batch, positions]) => ({ kind: 'skip', batch, units: positions }));
}

function failBatch(
  state: WorkerState,
  batch: Batch,
  error: WireError,
  cause: 'refuse' | 'crash',
): WorkerEffect[] {
  const open = batch.units.filter((unit) => unit.status === 'waiting' || unit.status === 'queued');
  for (const unit of open) close(state, unit, cause);
  const units = open.map((unit) => failed(unit.lease, error));
  return units.length === 0 ? [] : [failEffect(batch.run, units)];
}

function failEffect(run: RunMessage, units: readonly DoneUnit[]): WorkerEffect {
  return { kind: 'fail', execution: run.execution, units };
}

function failed(lease: LeaseId, error: WireError): DoneUnit {
  return { lease, computeUs: 0, status: 'failed', error };
}

function close(state: WorkerState, unit: Unit, cause: LeaseCause): void {
  moveLease(unit, cause);
  state.leases.delete(unit.lease);
  unit.batch.open--;
  if (unit.batch.open === 0) state.batches.delete(unit.batch.id);
}
