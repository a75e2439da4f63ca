/** @file `save` and `load`: a model, and if wanted its optimizer, in one safetensors file that PyTorch reads too. */
import { DataError } from '@ravenlab/protocol';
import type { HostArray } from './host.js';
import type { Module } from './nn/module.js';
import type { Optimizer } from './optim/optimizer.js';
import { readTensorFile, writeTensorFile } from './safetensors.js';

/** Names of momenta: `optimizer.<parameter>.<slot>`. */
const OPTIMIZER = 'optimizer.';

export interface Checkpoint {
  readonly model: Module;
  readonly optimizer?: Optimizer;
}

function isModule(value: Module | Checkpoint): value is Module {
  return !('model' in value && !('forward' in value));
}

/** Weights and running statistics under PyTorch's names; with an optimizer also its momenta and learning rates. */
export async function save(path: string, what: Module | Checkpoint): Promise<void> {
  const { model, optimizer } = isModule(what) ? { model: what, optimizer: undefined } : what;
  const tensors = await model.stateDict();
  const metadata: Record<string, string> = {};
  if (optimizer !== undefined) {
    const state = await optimizer.stateDict();
    state.slots.forEach((slots, parameter) => {
      slots.forEach((data, slot) => {
        const entry: HostArray = { data, dtype: 'float32', shape: [data.length] };
        tensors.set(`${OPTIMIZER}${String(parameter)}.${String(slot)}`, entry);
      });
    });
    metadata['optimizer'] = JSON.stringify({ lr: state.lr, steps: state.steps });
  }
  writeTensorFile(path, tensors, metadata);
}

/**
 * Loads what `save` or PyTorch's safetensors wrote into a model, and into an optimizer built as when it was saved.
 * @throws DataError when the file is missing, damaged, or does not fit.
 */
export async function load(
  path: string,
  what: Module | Checkpoint,
  options: { readonly strict?: boolean } = {},
): Promise<void> {
  const { model, optimizer } = isModule(what) ? { model: what, optimizer: undefined } : what;
  const { tensors, metadata } = readTensorFile(path);
  const weights = new Map([...tensors].filter(([name]) => !name.startsWith(OPTIMIZER)));
  model.loadStateDict(weights, options);
  if (optimizer === undefined) return;
  const header = metadata['optimizer'];
  if (header === undefined) {
    throw new DataError(
      `load: '${path}' holds no optimizer; save it with { model, optimizer }, or load the model alone`,
      { meta: { path } },
    );
  }
  const { lr, steps } = readHeader(path, header);
  const slots = optimizer.params.map((_, parameter) => slotsOf(tensors, parameter));
  await optimizer.loadStateDict({ lr, steps, slots });
}

function readHeader(path: string, text: string): { lr: number[]; steps: number } {
  const damaged = new DataError(`load: the optimizer's settings in '${path}' are damaged`, {
    meta: { path },
  });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw damaged;
  }
  const { lr, steps } = (typeof value === 'object' && value !== null ? value : {}) as Record<
    string,
    unknown
  >;
  const isNumber = (item: unknown): item is number => typeof item === 'number';
  if (!Array.isArray(lr) || !lr.every(isNumber) || !isNumber(steps)) throw damaged;
  return { lr, steps };
}

function slotsOf(tensors: ReadonlyMap<string, HostArray>, parameter: number): Float32Array[] {
  const slots: Float32Array[] = [];
  for (;;) {
    const entry = tensors.get(`${OPTIMIZER}${String(parameter)}.${String(slots.length)}`);
    if (!(entry?.data instanceof Float32Array)) return slots;
    slots.push(entry.data);
  }
}
