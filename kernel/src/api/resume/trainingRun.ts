/** @file The run that an earlier kernel left in the engine, and how a new one takes it up at its last commit. */
import type { AttachedRun, JobState, RunId, StateId, TensorData } from '@ravenlab/protocol';
import { ClusterError, DataError, read, readPanelState } from '@ravenlab/protocol';
import type { HostArray } from '../host.js';
import type { Module } from '../nn/module.js';
import type { Optimizer } from '../optim/optimizer.js';
import type { Parameter } from '../parameter.js';
import type { Runtime } from '../runtime.js';
import { currentRuntime, expectReply } from '../runtime.js';
import type { Bookmark, Manifest, TensorEntry } from './bookmark.js';
import { parseBookmark, parseManifest } from './bookmark.js';
import type { Checkpoint, Position } from './snapshot.js';
import { statesOf } from './manifest.js';
import { restoreSnapshot } from './snapshot.js';

const WHERE = 'the run';

/** What the new loop is made of. `model` may be left out when the optimizer holds single tensors. */
export type RunParts = Partial<Checkpoint> & { readonly optimizer: Optimizer };

/** A run that stopped with its kernel; made by `cluster.attach()`. As a `Position` it is where its loop goes on. */
export class TrainingRun implements Position {
  readonly id: RunId;
  readonly step: number;
  readonly epoch: number;
  readonly batch: number;
  readonly state: JobState;
  /** Step and loss of the run so far, thinned out: `plot.live({ resume: run })` goes on with them. */
  readonly losses: readonly (readonly [number, number])[];
  private readonly manifest: Manifest;
  private readonly bookmark: Bookmark;

  /** @throws DataError when a release that this one cannot read left the run. */
  constructor(run: AttachedRun, losses: readonly (readonly [number, number])[]) {
    this.manifest = parseManifest(WHERE, run.manifest);
    this.bookmark = parseBookmark(WHERE, run.bookmark);
    this.id = run.runId;
    this.step = run.step;
    this.epoch = this.bookmark.epoch;
    this.batch = this.bookmark.loader?.batch ?? 0;
    this.state = run.state;
    this.losses = losses;
  }

  /**
   * Puts the last commit into freshly built objects: weights, momenta, learning rates, random numbers, position in the data. The loop
   * then goes on to the bits that it would have had without the pause.
   * Rejects with DataError when the objects are not built as in the run, ClusterError when it has been restored already.
   */
  async restore(what: RunParts): Promise<Position> {
    const runtime = currentRuntime();
    if (runtime.earlierRun()?.runId !== this.id) {
      throw new ClusterError(
        `restore: run ${this.id} is not there any more: it was restored before, or its engine has ended; use a checkpoint file`,
      );
    }
    const entries = this.entriesOf(what.model);
    const loose = this.looseParams(what);
    const { lossScale } = this.manifest;
    const named = await this.read(runtime, [
      ...entries.map(({ stateId }) => stateId),
      ...loose.map(({ stateId }) => stateId),
      ...(lossScale === null ? [] : [lossScale]),
    ]);
    const tensors = new Map(
      entries.map(({ name, dtype, shape }, index): [string, HostArray] => [
        name,
        { dtype, shape, data: named[index] ?? new Float32Array() },
      ]),
    );
    const slots = await this.slots(runtime);
    loose.forEach(({ parameter }, index) => {
      parameter.set(named[entries.length + index] ?? new Float32Array());
    });
    const scale = named[entries.length + loose.length];
    const snapshot = { tensors, slots, bookmark: this.bookmark, lossScale: scale ?? null };
    const position = await restoreSnapshot(what, snapshot, { where: WHERE });
    what.optimizer.continueRun(this.id);
    runtime.takeEarlierRun();
    runtime.post({ kind: 'dropStates', stateIds: statesOf(this.manifest) });
    return position;
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `TrainingRun(step ${String(this.step)}, epoch ${String(this.epoch)}, batch ${String(this.batch)}, ${this.state})`;
  }

  /** The run's tensors under the names that this model has for them. */
  private entriesOf(model: Module | undefined): readonly TensorEntry[] {
    if (model === undefined) return [];
    const names = new Set(model.namedTensors().map(([name]) => name));
    const { modules } = this.manifest;
    const found = modules.find(
      ({ tensors }) =>
        tensors.length === names.size && tensors.every(({ name }) => names.has(name)),
    );
    if (found !== undefined) return found.tensors;
    const known = modules.map(({ name, tensors }) => `${name} of ${String(tensors.length)}`);
    throw new DataError(
      `restore: the run trained ${known.length === 0 ? 'no module' : `${known.join(', ')} tensors`}, this model is ${model.constructor.name} of ${String(names.size)} tensors with other names; ` +
        'build the model as in the run',
    );
  }

  /** Parameters of the optimizer that are not in the model, in the optimizer's order. */
  private looseParams({ model, optimizer }: RunParts): { parameter: Parameter; stateId: number }[] {
    const { params } = this.manifest;
    const own = optimizer.params;
    if (own.length !== params.length) {
      throw new DataError(
        `restore: the run's optimizer has ${String(params.length)} parameters, this one ${String(own.length)}; build it as in the run`,
      );
    }
    const named = new Set(model?.namedTensors().map(([, tensor]) => tensor));
    return own.flatMap((parameter, index) =>
      named.has(parameter) ? [] : [{ parameter, stateId: params[index] ?? 0 }],
    );
  }

  private async read(runtime: Runtime, ids: readonly number[]): Promise<readonly TensorData[]> {
    runtime.steps.settleVersion();
    const stateIds = ids as readonly StateId[];
    const { session, version } = runtime;
    const reply = await session.request({ kind: 'readStates', stateIds, version });
    return expectReply(reply, 'states').values;
  }

  private async slots({ session }: Runtime): Promise<readonly (readonly Float32Array[])[]> {
    const { optimizerId, params } = this.manifest;
    const stateIds = params as readonly StateId[];
    const reply = await session.request({ kind: 'readSlots', optimizerId, stateIds });
    return expectReply(reply, 'slots').values;
  }
}

/**
 * The run that an earlier kernel on this engine left, null if there is none or it goes on already. Its weights are kept for this
 * session from here on.
 */
export async function attachRun(runtime: Runtime): Promise<TrainingRun | null> {
  const run = runtime.earlierRun();
  if (run === null || run.bookmark === '') return null;
  await runtime.session.request({ kind: 'adopt', runId: run.runId });
  const status = await runtime.session.request({ kind: 'command', op: 'status', args: {} });
  const value = read.objectOf(expectReply(status, 'result').value, 'status');
  const { job } = readPanelState(value['panel'], 'status.panel');
  return new TrainingRun(run, job?.runId === run.runId ? job.lossSeries.points : []);
}
