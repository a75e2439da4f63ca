/** @file Where a training loop is, without its weights: plain data, and its JSON. Everything that decides the bits of what follows. */
import type { Aggregate, Shape, WireFormat } from '@ravenlab/protocol';
import {
  API_LIMITS,
  DataError,
  LIMITS,
  RemoteProtocolError,
  AGGREGATE_FORMS,
  WIRE_FORMATS,
  readAggregate,
  read,
} from '@ravenlab/protocol';
import type { ComputeFormat } from '../precision.js';
import { COMPUTE_FORMATS } from '../precision.js';

/** Batches that were taken from a loader. */
export interface LoaderPlace {
  /** What the loader is recognized by: its data, order and batch size. */
  readonly fingerprint: string;
  readonly epoch: number;
  /** Batches taken in this epoch. */
  readonly batch: number;
}

export interface GroupPlace {
  readonly lr: number;
  readonly initialLr: number;
  readonly weightDecay: number;
}

export interface OptimizerPlace {
  /** Class of the optimizer: its slots mean nothing to another. */
  readonly name: string;
  readonly steps: number;
  readonly groups: readonly GroupPlace[];
  /** Steps of its schedule; null when it has none. */
  readonly schedule: number | null;
}

export interface Bookmark {
  readonly format: 1;
  /** The round of the loop to go on with. */
  readonly epoch: number;
  readonly seedLow: number;
  readonly seedHigh: number;
  /** Random draws so far: the number of the next one. */
  readonly draws: number;
  /** How batches are cut, which decides the bits of a sum. */
  readonly microShardRows: number;
  /** What gradients travel as: decides bits too. */
  readonly wire: WireFormat;
  /** How the gradients of micro-shards become one: so does this. */
  readonly aggregate: Aggregate;
  /** What products are made in: and this. */
  readonly compute: ComputeFormat;
  readonly optimizer: OptimizerPlace | null;
  readonly loader: LoaderPlace | null;
}

/** State id, dtype and shape of a tensor, under its name in the model. */
export interface TensorEntry {
  readonly name: string;
  readonly stateId: number;
  readonly dtype: 'float32' | 'int32' | 'bool';
  readonly shape: Shape;
}

/** What a run consists of, in terms of the engine that holds it. */
export interface Manifest {
  readonly format: 1;
  readonly optimizerId: number;
  /** States of the optimizer's parameters, in its order. */
  readonly params: readonly number[];
  /** State of the loss scale; null without. */
  readonly lossScale: number | null;
  /** Tensors of every module that holds one of them and is no part of another. */
  readonly modules: readonly { readonly name: string; readonly tensors: readonly TensorEntry[] }[];
}

const { count, finite, id, list, nullable, oneOf, record } = read;

/** The only format so far; a later release that cannot read it says so. */
const format1: read.Reader<1> = (value, path) =>
  value === 1 ? 1 : read.reject(path, 'format 1; update ravenlab', value);

const int32: read.Reader<number> = (value, path) =>
  typeof value === 'number' && (value | 0) === value
    ? value
    : read.reject(path, 'a 32-bit integer', value);

const readBookmark = record<Bookmark>({
  format: format1,
  epoch: count(),
  seedLow: int32,
  seedHigh: int32,
  draws: count(),
  microShardRows: (value, path) => Math.max(1, count(LIMITS.tensorElements)(value, path)),
  // Earlier releases had one format.
  wire: (value, path) => (value === undefined ? 'float32' : oneOf(WIRE_FORMATS)(value, path)),
  // Earlier releases only summed.
  aggregate: (value, path) =>
    value === undefined
      ? 'sum'
      : (readAggregate(value) ?? read.reject(path, AGGREGATE_FORMS, value)),
  // Earlier releases had one precision.
  compute: (value, path) => (value === undefined ? 'float32' : oneOf(COMPUTE_FORMATS)(value, path)),
  optimizer: nullable(
    record<OptimizerPlace>({
      name: id(API_LIMITS.nameChars),
      steps: count(),
      groups: list(
        record<GroupPlace>({ lr: finite, initialLr: finite, weightDecay: finite }),
        API_LIMITS.optimizerGroups,
      ),
      schedule: nullable(count()),
    }),
  ),
  loader: nullable(
    record<LoaderPlace>({ fingerprint: id(API_LIMITS.nameChars), epoch: count(), batch: count() }),
  ),
});

const readManifest = record<Manifest>({
  format: format1,
  optimizerId: count(),
  params: list(count(), API_LIMITS.runTensors),
  // Earlier releases had none.
  lossScale: (value, path) => (value === undefined ? null : nullable(count())(value, path)),
  modules: list(
    record<Manifest['modules'][number]>({
      name: id(API_LIMITS.nameChars),
      tensors: list(
        record<TensorEntry>({
          name: id(API_LIMITS.nameChars),
          stateId: count(),
          dtype: read.oneOf(['float32', 'int32', 'bool']),
          shape: list(count(), LIMITS.tensorRank),
        }),
        API_LIMITS.runTensors,
      ),
    }),
    API_LIMITS.runModules,
  ),
});

/** @param where named in the error: a file, or the run */
function parse<T>(
  where: string,
  text: string,
  options: { readonly maxChars: number; readonly reader: read.Reader<T> },
): T {
  if (text.length > options.maxChars) {
    throw new DataError(
      `${where} describes its run in ${String(text.length)} characters, at most ${String(options.maxChars)} are read; it is damaged`,
    );
  }
  try {
    return options.reader(JSON.parse(text), 'run');
  } catch (error) {
    const isOurs = error instanceof RemoteProtocolError || error instanceof SyntaxError;
    if (!isOurs) throw error;
    throw new DataError(`${where} does not say where its run was: ${error.message}`, {
      meta: { where },
      cause: error,
    });
  }
}

/** The same place with batches cut otherwise. @param text a bookmark of this session; empty when there is none */
export function withMicroShard(text: string, microShardRows: number): string {
  if (text === '') return text;
  return JSON.stringify({ ...(JSON.parse(text) as Bookmark), microShardRows });
}

/** @throws DataError when the text is damaged or of another release. */
export function parseBookmark(where: string, text: string): Bookmark {
  return parse(where, text, { maxChars: API_LIMITS.bookmarkChars, reader: readBookmark });
}

/** @throws DataError when the text is damaged or of another release. */
export function parseManifest(where: string, text: string): Manifest {
  return parse(where, text, { maxChars: API_LIMITS.manifestChars, reader: readManifest });
}
