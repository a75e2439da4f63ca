/** @file What a run consists of: the optimizer's parameters, and the names that models give their tensors. Told to the engine once. */
import type { RunId, Shape, StateId } from '@ravenlab/protocol';
import { API_LIMITS } from '@ravenlab/protocol';
import type { Parameter } from '../parameter.js';
import type { Runtime } from '../runtime.js';
import type { Manifest, TensorEntry } from './bookmark.js';

/** What is read of a module here. */
interface NamedModule {
  namedTensors(): [string, Parameter][];
  modules(): readonly NamedModule[];
}

/** Dead references are swept when the list has doubled. */
const SWEEP_FROM = 1_024;

let known: WeakRef<NamedModule>[] = [];
let sweepAt = SWEEP_FROM;

/** Every module is noted when it is made: a step knows its parameters, and only their module knows their names. */
export function noteModule(module: NamedModule): void {
  known.push(new WeakRef(module));
  if (known.length < sweepAt) return;
  known = known.filter((reference) => reference.deref() !== undefined);
  sweepAt = Math.max(SWEEP_FROM, 2 * known.length);
}

/** Modules that hold one of these parameters and are no part of another one that does; oldest first. */
function modulesOf(params: ReadonlySet<Parameter>): NamedModule[] {
  const alive = known.flatMap((reference) => reference.deref() ?? []);
  const holders = alive.filter((module) =>
    module.namedTensors().some(([, tensor]) => params.has(tensor)),
  );
  const parts = new Set(
    holders.flatMap((module) => module.modules().filter((part) => part !== module)),
  );
  return holders.filter((module) => !parts.has(module)).slice(0, API_LIMITS.runModules);
}

function entryOf([name, tensor]: [string, Parameter]): TensorEntry {
  const { dtype, record } = tensor;
  const shape: Shape = tensor.shape;
  return { name, stateId: record.stateId, dtype, shape };
}

function manifestOf(
  { compute, lossScaler }: Runtime,
  optimizerId: number,
  params: readonly Parameter[],
): Manifest {
  const isScaled = compute === 'float16';
  return {
    format: 1,
    optimizerId,
    params: params.map(({ record }) => record.stateId),
    lossScale: (isScaled ? lossScaler.record?.stateId : undefined) ?? null,
    modules: modulesOf(new Set(params)).map((module) => ({
      name: module.constructor.name,
      tensors: module.namedTensors().map(entryOf),
    })),
  };
}

/** Every state that a run consists of. */
export function statesOf({ params, modules, lossScale }: Manifest): StateId[] {
  const named = modules.flatMap(({ tensors }) => tensors.map(({ stateId }) => stateId));
  return [
    ...new Set([...params, ...named, ...(lossScale === null ? [] : [lossScale])]),
  ] as StateId[];
}

/** Tells the engine of a run before its first step, and again when its tensors are others. */
export class RunOpener {
  private readonly optimizerId: number;
  private id: RunId;
  /** Count of states made in this session when the engine was told last. */
  private toldAt = -1;
  private told = '';

  constructor(runId: RunId, optimizerId: number) {
    this.id = runId;
    this.optimizerId = optimizerId;
  }

  get runId(): RunId {
    return this.id;
  }

  continue(runId: RunId): void {
    this.id = runId;
    this.toldAt = -1;
    this.told = '';
  }

  /** Costs nothing unless a state has been made since the last time. */
  open(runtime: Runtime, params: readonly Parameter[]): void {
    if (this.toldAt === runtime.statesMade) return;
    this.toldAt = runtime.statesMade;
    const manifest = manifestOf(runtime, this.optimizerId, params);
    const text = JSON.stringify(manifest);
    if (text === this.told || text.length > API_LIMITS.manifestChars) return;
    this.told = text;
    const stateIds = statesOf(manifest);
    runtime.postForSure({ kind: 'openRun', runId: this.id, manifest: text, stateIds });
  }
}
