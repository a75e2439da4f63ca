/** @file Data sets held by the engine, and loaders that name rows of them: samples travel to a worker once. */
import { API_LIMITS, DataError, formatShape, ShapeError, uniform } from '@ravenlab/protocol';
import type { LeafNode } from '../../core/graph/node.js';
import { rowsLeaf } from '../../core/graph/node.js';
import { hostValue } from '../evaluate.js';
import type { LoaderPass } from '../resume/loop.js';
import type { DataHandle, Runtime } from '../runtime.js';
import { currentRuntime } from '../runtime.js';
import { Tensor } from '../tensor.js';

/** One tensor for each tensor of the data set. */
export type Batch<T extends readonly Tensor[]> = { readonly [K in keyof T]: Tensor };

/** Second word of the key of a shuffle, so that it never meets the key of a weight or a dropout. */
const SHUFFLE_STREAM = 0x5eed;

/** Order of `count` samples: a pure function of seed and epoch (Fisher and Yates, counter-based). */
function shuffled(count: number, seed: number, epoch: number): Int32Array {
  const order = Int32Array.from({ length: count }, (_, i) => i);
  const draws = uniform(Int32Array.of(seed | 0, SHUFFLE_STREAM, epoch, 0), 0, count);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor((draws[i] ?? 0) * (i + 1));
    const swapped = order[i] ?? 0;
    order[i] = order[j] ?? 0;
    order[j] = swapped;
  }
  return order;
}

/** Rows of several tensors that belong together; cutting it copies nothing. */
export class Dataset<T extends readonly Tensor[] = readonly Tensor[]> {
  private readonly handles: readonly DataHandle[];
  private readonly rows: Int32Array;
  private print: string | null = null;

  /** Cells use `data.dataset(...)`. */
  constructor(handles: readonly DataHandle[], rows: Int32Array) {
    this.handles = handles;
    this.rows = rows;
  }

  /** Number of samples. */
  get length(): number {
    return this.rows.length;
  }

  /**
   * SHA-256, in hex, of which samples these are: the order of the rows, and type and both ends of every tensor. Data that differ in
   * the middle only have the same fingerprint.
   */
  get fingerprint(): string {
    this.print ??= fingerprintOf(this.handles, this.rows);
    return this.print;
  }

  /** Samples `begin … end`. */
  slice(begin: number, end = this.length): Dataset<T> {
    return new Dataset(this.handles, this.rows.slice(begin, end));
  }

  /** The samples at these positions. @throws DataError when one is outside. */
  select(positions: ArrayLike<number>): Dataset<T> {
    const rows = Int32Array.from(positions, (position) => {
      const row = this.rows[position];
      if (row !== undefined) return row;
      throw new DataError(
        `data: there is no sample ${String(position)}; the data set has ${String(this.length)}`,
        { meta: { position, length: this.length } },
      );
    });
    return new Dataset(this.handles, rows);
  }

  /** These samples as one batch, which the cluster cuts into micro-shards. */
  batch(positions: ArrayLike<number>): Batch<T> {
    const runtime = currentRuntime();
    const { rows } = this.select(positions);
    return this.handles.map(
      (handle) => new Tensor(batchLeaf(runtime, handle, rows)),
    ) as unknown as Batch<T>;
  }

  /** All samples as one batch. */
  all(): Batch<T> {
    return this.batch(Array.from(this.rows.keys()));
  }

  toString(): string {
    const parts = this.handles.map(
      ({ type }) => `${type.dtype} ${formatShape([this.length, ...type.shape.slice(1)])}`,
    );
    return `Dataset(${parts.join(', ')})`;
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }
}

function bytesOf(array: ArrayBufferView): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

function fingerprintOf(handles: readonly DataHandle[], rows: Int32Array): string {
  const { session } = currentRuntime();
  const ends = API_LIMITS.fingerprintBytes;
  const parts = handles.flatMap(({ type, host }) => {
    const bytes = bytesOf(host);
    const head = bytes.subarray(0, ends);
    const tail = bytes.subarray(Math.max(head.length, bytes.length - ends));
    return [JSON.stringify(type), session.sha256(head), session.sha256(tail)];
  });
  const text = [session.sha256(bytesOf(rows)), ...parts].join('\n');
  return session.sha256(new TextEncoder().encode(text));
}

function batchLeaf(runtime: Runtime, handle: DataHandle, rows: Int32Array): LeafNode {
  return runtime.adoptData(rowsLeaf(handle.dataId, handle.type, rows), handle);
}

/** The engine's copy of a tensor; made on first use. */
function handleOf(runtime: Runtime, value: Tensor): DataHandle {
  const { node } = value;
  const known = node.kind === 'leaf' && node.leaf.kind === 'data' ? runtime.handleOf(node) : null;
  if (known !== null) return known;
  const data = hostValue(runtime, node) ?? value.dataSync();
  return runtime.createData({ dtype: value.dtype, shape: value.shape }, data);
}

/**
 * A data set whose sample i is row i (axis 0) of every tensor.
 * @throws ShapeError when the tensors have different numbers of rows.
 */
export function dataset<const T extends readonly Tensor[]>(...tensors: T): Dataset<Batch<T>> {
  const runtime = currentRuntime();
  const rows = tensors.map((value) => value.shape[0]);
  const [count] = rows;
  if (count === undefined || rows.some((other) => other !== count)) {
    const shapes = tensors.map((value) => formatShape(value.shape)).join(', ');
    throw new ShapeError(
      `data.dataset: tensors must have the same number of rows (axis 0), got ${shapes === '' ? 'none' : shapes}`,
    );
  }
  const handles = tensors.map((value) => handleOf(runtime, value));
  return new Dataset(
    handles,
    Int32Array.from({ length: count }, (_, i) => i),
  );
}

export interface SplitOptions {
  /** Samples of the second part: a share below 1, or a number of samples. */
  readonly test: number;
  /** Shuffles before cutting, by default with seed 0; `null` keeps the order. */
  readonly seed?: number | null;
}

/** Cuts a data set in two: [train, test]. @throws DataError when a part would be empty. */
export function trainTestSplit<T extends readonly Tensor[]>(
  all: Dataset<T>,
  options: SplitOptions,
): [Dataset<T>, Dataset<T>] {
  const { length } = all;
  const count = options.test < 1 ? Math.round(length * options.test) : options.test;
  if (!Number.isInteger(count) || count < 1 || count >= length) {
    throw new DataError(
      `data.trainTestSplit: a test part of ${String(options.test)} gives ${String(count)} of ${String(length)} samples; ` +
        'expected a share between 0 and 1, or a number of samples that leaves some for training',
    );
  }
  const seed = options.seed === undefined ? 0 : options.seed;
  const order = seed === null ? Array.from({ length }, (_, i) => i) : shuffled(length, seed, 0);
  return [all.select(order.slice(0, length - count)), all.select(order.slice(length - count))];
}

export interface LoaderOptions {
  readonly batchSize?: number;
  readonly shuffle?: boolean;
  /** Of the shuffle; epoch e of a loader has the same order in every run with the same seed. */
  readonly seed?: number;
  /** Leaves out the last batch if it is smaller than the others. */
  readonly dropLast?: boolean;
}

/**
 * Batches of a data set, anew in each `for`; with `shuffle` every pass has another order. After `load` or `restore` the first `for`
 * goes on behind the batch that was taken last.
 */
export class DataLoader<T extends readonly Tensor[]> implements Iterable<Batch<T>> {
  readonly dataset: Dataset<T>;
  readonly batchSize: number;
  private readonly options: LoaderOptions;
  private latest: LoaderPass | null = null;
  /** Where the next pass begins. */
  private next = { epoch: 0, batch: 0 };

  constructor(source: Dataset<T>, options: LoaderOptions = {}) {
    this.dataset = source;
    this.batchSize = options.batchSize ?? 32;
    this.options = options;
    if (!Number.isInteger(this.batchSize) || this.batchSize < 1) {
      throw new DataError(
        `data.loader: batchSize must be a positive integer, got ${String(this.batchSize)}`,
      );
    }
    if (this.length === 0) {
      throw new DataError(
        `data.loader: ${String(source.length)} samples make no batch of ${String(this.batchSize)}; use a smaller batchSize`,
      );
    }
  }

  /** Batches of one pass. */
  get length(): number {
    const batches = this.dataset.length / this.batchSize;
    return this.options.dropLast === true ? Math.floor(batches) : Math.ceil(batches);
  }

  /** What the same batches in the same order have in common, on any machine: hex. */
  get fingerprint(): string {
    const { shuffle = false, seed = 0, dropLast = false } = this.options;
    const order = [this.batchSize, shuffle ? seed : null, dropLast];
    const text = `${this.dataset.fingerprint} ${JSON.stringify(order)}`;
    return currentRuntime().session.sha256(new TextEncoder().encode(text));
  }

  /** The pass that is going on, or was last; one that has not begun if there was none. */
  get pass(): LoaderPass {
    return this.latest ?? this.newPass();
  }

  /**
   * The next `for` begins with this batch of this epoch (0-based); `batch` may be `length`: a pass without batches, its end.
   * @throws DataError for a batch that the loader does not have.
   */
  seek(epoch: number, batch = 0): void {
    if (!Number.isInteger(epoch) || epoch < 0 || !(batch >= 0 && batch <= this.length)) {
      throw new DataError(
        `loader.seek: expected an epoch ≥ 0 and a batch 0 … ${String(this.length)}, got ${String(epoch)} and ${String(batch)}`,
      );
    }
    this.next = { epoch, batch };
    this.latest = null;
  }

  *[Symbol.iterator](): IterableIterator<Batch<T>> {
    const { progress, loop } = currentRuntime();
    progress.stepsPerEpoch = this.length;
    const pass = this.newPass();
    this.latest = pass;
    this.next = { epoch: pass.epoch + 1, batch: 0 };
    const order = this.orderOf(pass.epoch);
    while (pass.batch < this.length) {
      const begin = pass.batch * this.batchSize;
      const batch = this.dataset.batch(order.subarray(begin, begin + this.batchSize));
      pass.batch++;
      loop.took(pass);
      yield batch;
      loop.ended(pass);
    }
    pass.isFinished = true;
  }

  private newPass(): LoaderPass {
    return { ...this.next, fingerprint: this.fingerprint, isFinished: false };
  }

  private orderOf(epoch: number): Int32Array {
    const count = this.dataset.length;
    return this.options.shuffle === true
      ? shuffled(count, this.options.seed ?? 0, epoch)
      : Int32Array.from({ length: count }, (_, i) => i);
  }
}
