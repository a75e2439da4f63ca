/** @file A training run at one moment: weights, momenta, and where the loop is. Taken from living objects, put into freshly built ones. */
import type { LossScale, StateId, TensorData } from '@ravenlab/protocol';
import { DataError, readLossScale } from '@ravenlab/protocol';
import type { HostArray } from '../host.js';
import type { Module } from '../nn/module.js';
import type { Optimizer } from '../optim/optimizer.js';
import type { Schedule } from '../optim/schedules.js';
import type { Parameter } from '../parameter.js';
import type { Runtime } from '../runtime.js';
import { currentRuntime, expectReply } from '../runtime.js';
import type { Bookmark, LoaderPlace } from './bookmark.js';
import type { LoaderPass } from './loop.js';

/** A `DataLoader`, whatever its batches are. */
export interface ResumableLoader {
  readonly fingerprint: string;
  readonly pass: LoaderPass;
  seek(epoch: number, batch?: number): void;
}

/** The parts of a training loop. Whatever the loop uses belongs in here: what is left out is not resumed. */
export interface Checkpoint {
  readonly model: Module;
  readonly optimizer?: Optimizer | undefined;
  /** Part of its optimizer, which knows it: naming it only makes sure that it is the one. */
  readonly schedule?: Schedule | undefined;
  readonly loader?: ResumableLoader | undefined;
}

/** Where a loop goes on. */
export interface Position {
  /** Optimizer steps done. */
  readonly step: number;
  /** Round to go on with: `progress(n, { resume })`. */
  readonly epoch: number;
  /** Batches of it that are done. */
  readonly batch: number;
}

export interface Snapshot {
  /** Under their names in the model. */
  readonly tensors: ReadonlyMap<string, HostArray>;
  /** Of each parameter of the optimizer, in its order; the count of its steps last. */
  readonly slots: readonly (readonly Float32Array[])[];
  readonly bookmark: Bookmark;
  /** Scale and count of a float16 run's losses; null without. */
  readonly lossScale: TensorData | null;
}

/** @throws DataError when the schedule is another optimizer's. */
function settleSchedule({ optimizer, schedule }: Partial<Checkpoint>): void {
  if (schedule === undefined) return;
  if (schedule.optimizer !== optimizer) {
    throw new DataError(
      'checkpoint: the schedule is not that of the optimizer beside it; give both of the same loop',
    );
  }
  optimizer.schedule = schedule;
}

/**
 * Everything is asked for before this function returns, so the loop may go on at once: the snapshot is that of this moment.
 * Rejects with the RavenError of a step in flight that fails.
 */
export async function takeSnapshot(what: Checkpoint): Promise<Snapshot> {
  const runtime = currentRuntime();
  settleSchedule(what);
  runtime.steps.throwUnreported();
  runtime.steps.settleVersion();
  runtime.collectGarbage();
  const { model, optimizer, loader } = what;
  const named = model.namedTensors();
  const scale = runtime.compute === 'float16' ? runtime.lossScaler.record : null;
  const stateIds = named.map(([, tensor]) => heldId(runtime, tensor));
  if (scale !== null) stateIds.push(scale.stateId);
  const { session, version } = runtime;
  const states = session.request({ kind: 'readStates', stateIds, version });
  const slots =
    optimizer === undefined
      ? null
      : session.request({
          kind: 'readSlots',
          optimizerId: optimizer.optimizerId,
          stateIds: optimizer.params.map((parameter) => heldId(runtime, parameter)),
        });
  const bookmark = runtime.loop.now(optimizer ?? null, loader?.pass ?? null);
  const [statesReply, slotsReply] = await Promise.all([states, slots]);
  const { values } = expectReply(statesReply, 'states');
  const tensors = new Map(
    named.map(([name, { dtype, shape }], index): [string, HostArray] => [
      name,
      { dtype, shape, data: values[index] ?? new Float32Array() },
    ]),
  );
  return {
    tensors,
    slots: slotsReply === null ? [] : expectReply(slotsReply, 'slots').values,
    bookmark,
    lossScale: scale === null ? null : (values[named.length] ?? null),
  };
}

function heldId(runtime: Runtime, { record }: Parameter): StateId {
  runtime.requireHeld(record.stateId);
  return record.stateId;
}

export interface RestoreOptions {
  /** Named in errors: a file, or the run. */
  readonly where: string;
  /** False: names on one side only are skipped. */
  readonly strict?: boolean | undefined;
}

/**
 * Puts a snapshot into objects that were built as those it was taken from. Nothing changes unless all fits.
 * Rejects with DataError or ShapeError that says what does not.
 */
export async function restoreSnapshot(
  what: Partial<Checkpoint>,
  snapshot: Snapshot,
  options: RestoreOptions,
): Promise<Position> {
  const { model, optimizer, loader } = what;
  const { bookmark } = snapshot;
  const runtime = currentRuntime();
  settleSchedule(what);
  if (optimizer !== undefined) checkOptimizer(optimizer, snapshot, options.where);
  const place = loader === undefined ? null : placeOf(loader, bookmark, options.where);
  const lossScale = scaleOf(snapshot, options.where);
  const strict = options.strict ?? true;
  model?.loadStateDict(snapshot.tensors, { strict });
  if (optimizer !== undefined) await writeSlots(runtime, optimizer, snapshot);
  if (place !== null) loader?.seek(place.epoch, place.batch);
  if (optimizer !== undefined || loader !== undefined) {
    if (bookmark.optimizer !== null) optimizer?.goTo(bookmark.optimizer);
    const { seedLow, seedHigh, draws, microShardRows, wire, aggregate, compute } = bookmark;
    runtime.randomPlace = { seedLow, seedHigh, draws };
    runtime.microShardRows = microShardRows;
    runtime.wire = wire;
    runtime.aggregate = aggregate;
    runtime.compute = compute;
    runtime.lossScaler.reset();
    if (lossScale !== null) runtime.lossScaler.set(lossScale);
    runtime.loop.restart();
  }
  if (loader === undefined && optimizer !== undefined && bookmark.loader !== null) {
    runtime.warnOnce(
      `ravenlab: ${options.where} was in the middle of a loader (epoch ${String(bookmark.loader.epoch)}, ${String(bookmark.loader.batch)} batches done); ` +
        'pass { loader } as well to go on there',
    );
  }
  return {
    step: bookmark.optimizer?.steps ?? 0,
    epoch: bookmark.epoch,
    batch: bookmark.loader?.batch ?? 0,
  };
}

function checkOptimizer(optimizer: Optimizer, snapshot: Snapshot, where: string): void {
  const { params } = optimizer;
  const place = snapshot.bookmark.optimizer;
  if (place === null) {
    throw new DataError(
      `load: ${where} holds no optimizer; save it with { model, optimizer }, or load the model alone`,
      { meta: { where } },
    );
  }
  optimizer.checkPlace(place);
  const isFit = params.every((parameter, index) => {
    const arrays = snapshot.slots[index] ?? [];
    const isCount = ({ length }: Float32Array, slot: number): boolean =>
      length === 1 && slot === arrays.length - 1;
    return arrays.every((array, slot) => array.length === parameter.size || isCount(array, slot));
  });
  if (params.length === snapshot.slots.length && isFit) return;
  throw new DataError(
    `load: the optimizer in ${where} has ${String(snapshot.slots.length)} parameters, this one ${String(params.length)} or of other sizes; ` +
      'build model and optimizer as when they were saved',
    { meta: { where } },
  );
}

function placeOf(loader: ResumableLoader, { loader: place }: Bookmark, where: string): LoaderPlace {
  if (place === null) {
    throw new DataError(
      `load: ${where} does not say where a loader was; save it with { loader }, or leave the loader out`,
      { meta: { where } },
    );
  }
  if (place.fingerprint !== loader.fingerprint) {
    throw new DataError(
      `load: the loader in ${where} had other batches than this one: data, order, seed or batch size differ; build it as in that run, ` +
        'or leave the loader out to begin with its first batch',
      { meta: { where } },
    );
  }
  return place;
}

/** @throws DataError when what was saved is no scale. */
function scaleOf({ lossScale }: Snapshot, where: string): LossScale | null {
  if (lossScale === null) return null;
  const scale = readLossScale(lossScale);
  if (scale !== null) return scale;
  throw new DataError(
    `load: ${where} scales its losses by ${Array.from(lossScale.subarray(0, 2)).join(', ')}, expected a power of two and a count of steps; it is damaged`,
    { meta: { where } },
  );
}

async function writeSlots(
  { session }: Runtime,
  { optimizerId, params }: Optimizer,
  { slots }: Snapshot,
): Promise<void> {
  const writes = params.flatMap(({ record: { stateId } }, index) => {
    const arrays = slots[index] ?? [];
    if (arrays.length === 0) return [];
    return [session.request({ kind: 'writeSlots', optimizerId, stateId, slots: arrays })];
  });
  await Promise.all(writes);
}
