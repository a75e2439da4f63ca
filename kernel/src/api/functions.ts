/** @file Functions that make tensors or join several: what PyTorch has as torch.*. */
import type { DType, Shape } from '@ravenlab/protocol';
import { API_LIMITS, byteSizeOf, ShapeError } from '@ravenlab/protocol';
import { dataLeaf, inlineLeaf } from '../core/graph/node.js';
import { constant, emit, scalarLike } from './emit.js';
import type { ArrayLike1 } from './host.js';
import { toHost } from './host.js';
import * as indexing from './lower/indexing.js';
import * as random from './lower/random.js';
import { Parameter } from './parameter.js';
import { currentRuntime } from './runtime.js';
import type { Operand } from './tensor.js';
import { combine, Tensor } from './tensor.js';

export interface TensorOptions {
  readonly dtype?: DType;
  /** Makes a trainable parameter, held by the engine. */
  readonly requiresGrad?: boolean;
}

export interface ArrayOptions extends TensorOptions {
  /** Shape of a flat array. */
  readonly shape?: Shape;
}

/**
 * A tensor of given values: a number, nested arrays, or a flat typed array with a `shape`. Numbers are float32, booleans
 * bool, an Int32Array int32, unless `dtype` says otherwise.
 * @throws ShapeError when rows have different lengths or the values do not fill the shape.
 */
export function tensor(values: ArrayLike1, options: ArrayOptions = {}): Tensor {
  const host = toHost(values, options.dtype, options.shape);
  if (options.requiresGrad === true) return new Parameter(requireFloat(host));
  const type = { dtype: host.dtype, shape: host.shape };
  if (byteSizeOf(type) <= API_LIMITS.inlineBytes) return new Tensor(inlineLeaf(host.data, type));
  const runtime = currentRuntime();
  const handle = runtime.createData(type, host.data);
  return new Tensor(runtime.adoptData(dataLeaf(handle.dataId, type), handle));
}

function requireFloat<T extends { readonly dtype: DType }>(host: T): T {
  if (host.dtype === 'float32') return host;
  throw new ShapeError(`tensor: only float32 can have gradients, got ${host.dtype}`);
}

function made(node: ReturnType<typeof emit>, options: TensorOptions): Tensor {
  const result = new Tensor(node);
  if (options.requiresGrad !== true) return result;
  const { dtype, shape } = node.type;
  return new Parameter(requireFloat({ data: result.dataSync(), dtype, shape }));
}

export function full(shape: Shape, value: number, options: TensorOptions = {}): Tensor {
  return made(constant(value, options.dtype ?? 'float32', shape), options);
}
export function zeros(shape: Shape, options: TensorOptions = {}): Tensor {
  return full(shape, 0, options);
}
export function ones(shape: Shape, options: TensorOptions = {}): Tensor {
  return full(shape, 1, options);
}
export function zerosLike(like: Tensor): Tensor {
  return full(like.shape, 0, { dtype: like.dtype });
}
export function onesLike(like: Tensor): Tensor {
  return full(like.shape, 1, { dtype: like.dtype });
}

/** Uniform in [0, 1), from the seed of `manualSeed`. */
export function rand(shape: Shape, options: TensorOptions = {}): Tensor {
  return made(random.uniform(shape), options);
}
/** Standard normal, from the seed of `manualSeed`. */
export function randn(shape: Shape, options: TensorOptions = {}): Tensor {
  return made(random.normal(shape), options);
}
/** Whole numbers `low … high - 1`. */
export function randint(low: number, high: number, shape: Shape): Tensor {
  return new Tensor(random.integers(low, high, shape));
}

/** `arange(end)` or `arange(start, end, step)`; int32 when all are whole numbers. */
export function arange(start: number, end?: number, step = 1): Tensor {
  const [from, to] = end === undefined ? [0, start] : [start, end];
  const count = Math.max(0, Math.ceil((to - from) / step));
  if (!Number.isFinite(count)) {
    throw new ShapeError(
      `arange: cannot count from ${String(from)} to ${String(to)} by ${String(step)}; step must not be 0`,
    );
  }
  const isWhole = [from, to, step].every(Number.isInteger);
  const values = Array.from({ length: count }, (_, i) => from + i * step);
  return tensor(isWhole ? Int32Array.from(values) : Float32Array.from(values));
}

/** `count` values from `start` to `end`, both included. */
export function linspace(start: number, end: number, count: number): Tensor {
  const step = count > 1 ? (end - start) / (count - 1) : 0;
  return tensor(Float32Array.from({ length: count }, (_, i) => start + i * step));
}

/** Identity matrix. */
export function eye(size: number): Tensor {
  const data = new Float32Array(size * size);
  for (let i = 0; i < size; i++) data[i * (size + 1)] = 1;
  return tensor(data, { shape: [size, size] });
}

/** Joins along an axis that exists. */
export function concat(tensors: readonly Tensor[], axis = 0): Tensor {
  return combine(tensors, (nodes) => indexing.concat(nodes, axis));
}
/** Joins along a new axis. */
export function stack(tensors: readonly Tensor[], axis = 0): Tensor {
  return combine(tensors, (nodes) => indexing.stack(nodes, axis));
}

/** `a` where the condition is true, else `b`; all three broadcast. */
export function where(condition: Tensor, a: Operand, b: Operand): Tensor {
  const tensors = [condition, a, b].filter((value): value is Tensor => value instanceof Tensor);
  const like = tensors[1]?.node ?? constant(0);
  return combine(tensors, () => {
    const nodeOf = (value: Operand) =>
      typeof value === 'number' ? scalarLike(value, like) : value.node;
    return emit('where', [condition.node, nodeOf(a), nodeOf(b)], {});
  });
}

/** Seeds weights, dropout, shuffles and random tensors made from here on: equal seeds give equal bits on any crowd. */
export function manualSeed(seed: number): void {
  currentRuntime().seed(seed);
}
