/** @file `save` and `load`: a training run in one safetensors file that PyTorch reads too, for any machine to go on with. */
import { DataError } from '@ravenlab/protocol';
import type { HostArray } from './host.js';
import { Module } from './nn/module.js';
import type { Bookmark } from './resume/bookmark.js';
import { parseBookmark } from './resume/bookmark.js';
import type { Checkpoint, Position } from './resume/snapshot.js';
import { restoreSnapshot, takeSnapshot } from './resume/snapshot.js';
import { currentRuntime } from './runtime.js';
import type { TensorFile } from './safetensors.js';
import { readTensorFile, writeTensorFile } from './safetensors.js';

/** Names of momenta: `optimizer.<parameter>.<slot>`. */
const OPTIMIZER = 'optimizer.';
/** The scale of a float16 run's losses, and how many steps were good with it. */
const LOSS_SCALE = `${OPTIMIZER}lossScale`;
/** Metadata: the bookmark, and a checksum of it and of all tensors. */
const RUN = 'run';
const DIGEST = 'digest';

function partsOf(what: Module | Checkpoint): Checkpoint {
  return what instanceof Module ? { model: what } : what;
}

/**
 * Weights and running statistics under PyTorch's names. With the parts of a loop, also all that it takes to go on to the same bits:
 * momenta, learning rates, position in the data, random numbers. The file is there as a whole or not at all, also after a power cut.
 * As the last line of a loop's body: `if (opt.steps % 100 === 0) await save('run.safetensors', { model, optimizer: opt, loader });`
 * @throws DataError when the file cannot be written; the RavenError of a step in flight that fails.
 */
export async function save(path: string, what: Module | Checkpoint): Promise<void> {
  const { tensors, slots, bookmark, lossScale } = await takeSnapshot(partsOf(what));
  const all = new Map(tensors);
  slots.forEach((arrays, parameter) => {
    arrays.forEach((data, slot) => {
      const entry: HostArray = { data, dtype: 'float32', shape: [data.length] };
      all.set(`${OPTIMIZER}${String(parameter)}.${String(slot)}`, entry);
    });
  });
  if (lossScale !== null)
    all.set(LOSS_SCALE, { data: lossScale, dtype: 'float32', shape: [lossScale.length] });
  const run = JSON.stringify(bookmark);
  writeTensorFile(path, all, { [RUN]: run, [DIGEST]: digestOf(all, run) });
}

export interface LoadOptions {
  /** False: names on one side only are skipped. */
  readonly strict?: boolean;
  /** True: null instead of an error when there is no such file. */
  readonly optional?: boolean;
}

/**
 * Loads what `save` wrote into objects that are built as when it was saved, and says where their loop goes on; or what PyTorch's
 * safetensors wrote into a model. Nothing changes unless all fits.
 * @throws DataError when the file is missing, damaged, or does not fit.
 */
export async function load(
  path: string,
  what: Module | Checkpoint,
  options: LoadOptions & { readonly optional: true },
): Promise<Position | null>;
export async function load(
  path: string,
  what: Module | Checkpoint,
  options?: LoadOptions,
): Promise<Position>;
export async function load(
  path: string,
  what: Module | Checkpoint,
  options: LoadOptions = {},
): Promise<Position | null> {
  const file = readTensorFile(path, options.optional === true);
  if (file === null) return null;
  const where = `'${path}'`;
  const parts = partsOf(what);
  checkDigest(where, file);
  const tensors = new Map([...file.tensors].filter(([name]) => !name.startsWith(OPTIMIZER)));
  const slots = parts.optimizer?.params.map((_, parameter) => slotsOf(file, parameter)) ?? [];
  const lossScale = file.tensors.get(LOSS_SCALE)?.data ?? null;
  const snapshot = { tensors, slots, bookmark: bookmarkOf(where, file), lossScale };
  return restoreSnapshot(parts, snapshot, { where, strict: options.strict });
}

/** A file of weights alone says nothing of a loop. */
function bookmarkOf(where: string, { metadata }: TensorFile): Bookmark {
  const text = metadata[RUN];
  if (text !== undefined) return parseBookmark(where, text);
  const { randomPlace, microShardRows, wire, aggregate, compute } = currentRuntime();
  const place = { ...randomPlace, microShardRows, wire, aggregate, compute };
  return { format: 1, epoch: 0, ...place, optimizer: null, loader: null };
}

/** SHA-256, in hex, of the run's text and of every tensor with its name; the order in the file does not count. */
function digestOf(tensors: ReadonlyMap<string, HostArray>, run: string): string {
  const { session } = currentRuntime();
  const lines = [...tensors].map(([name, { data, dtype, shape }]) => {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    return JSON.stringify([name, dtype, shape, session.sha256(bytes)]);
  });
  const text = [run, ...lines.sort()].join('\n');
  return session.sha256(new TextEncoder().encode(text));
}

function checkDigest(where: string, { tensors, metadata }: TensorFile): void {
  const digest = metadata[DIGEST];
  if (digest === undefined || digest === digestOf(tensors, metadata[RUN] ?? '')) return;
  throw new DataError(
    `load: ${where} is damaged: its values do not have the checksum that it was saved with; use an earlier checkpoint`,
    { meta: { where } },
  );
}

function slotsOf({ tensors }: TensorFile, parameter: number): Float32Array[] {
  const slots: Float32Array[] = [];
  for (;;) {
    const entry = tensors.get(`${OPTIMIZER}${String(parameter)}.${String(slots.length)}`);
    if (!(entry?.data instanceof Float32Array)) return slots;
    slots.push(entry.data);
  }
}
