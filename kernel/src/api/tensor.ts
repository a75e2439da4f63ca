/** @file The tensor of a cell: a lazy handle on a graph node. Building is here; running is evaluate.ts. */
import type { DType, Shape, TensorData } from '@ravenlab/protocol';
import { formatShape, normalizeAxis, ShapeError, sizeOf } from '@ravenlab/protocol';
import type { GraphNode } from '../core/graph/node.js';
import { stopGradient } from '../core/graph/node.js';
import { backward } from './autograd.js';
import { binary, castTo, emit, mul, scalarLike, transpose } from './emit.js';
import { evaluate, evaluateSync } from './evaluate.js';
import { isGradEnabled } from './gradMode.js';
import type { Nested } from './host.js';
import { nest } from './host.js';
import * as activations from './lower/activations.js';
import type { Index } from './lower/indexing.js';
import * as indexing from './lower/indexing.js';
import type { CrossEntropyOptions } from './lower/losses.js';
import * as losses from './lower/losses.js';
import * as norms from './lower/norms.js';
import * as random from './lower/random.js';
import type { Axes } from './lower/reductions.js';
import * as reductions from './lower/reductions.js';
import type { ConvOptions, Pair, PoolOptions } from './lower/windows.js';
import * as windows from './lower/windows.js';
import { noteCreated } from './pending.js';
import { displayTensor, printTensor } from './print.js';
import { currentRuntime } from './runtime.js';

/** What a binary method takes beside its tensor. */
export type Operand = Tensor | number;

export interface ReduceOptions {
  readonly keepDims?: boolean;
}
export interface VarianceOptions extends ReduceOptions {
  /** Subtracted from the count: 1 (default) is the unbiased estimate, 0 the population's. */
  readonly correction?: number;
}

/** Any object with these methods is shown by notebooks and by `console.log` in its own way. */
const JUPYTER_DISPLAY = Symbol.for('Jupyter.display');
const NODE_INSPECT = Symbol.for('nodejs.util.inspect.custom');

/**
 * An n-dimensional array of float32, int32 or bool that is computed when its value is asked for: by `data()`, `item()`,
 * display or an optimizer step. Methods name ops as PyTorch does, in camelCase, and never change their tensor.
 */
export class Tensor {
  /** dL/dthis after `backward()`; kept for tensors that were made with `requiresGrad`, cleared by `opt.step()`. */
  grad: Tensor | null = null;
  /** Whether `backward()` can reach this tensor's inputs. */
  readonly requiresGrad: boolean;
  private current: GraphNode;

  /** Cells use `tensor(...)`, `zeros(...)` and the like. */
  constructor(node: GraphNode, requiresGrad = false) {
    this.current = node;
    this.requiresGrad = requiresGrad;
  }

  /** The graph node that stands for this tensor now. */
  get node(): GraphNode {
    return this.current;
  }

  get shape(): Shape {
    return this.node.type.shape;
  }
  get dtype(): DType {
    return this.node.type.dtype;
  }
  get ndim(): number {
    return this.shape.length;
  }
  /** Number of elements. */
  get size(): number {
    return sizeOf(this.shape);
  }

  // ── values ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** All values, row-major. @throws RavenError of the execution; a ShapeError never comes this late. */
  async data(): Promise<TensorData> {
    const [values] = await evaluate([this.node]);
    return this.settle(values).slice();
  }

  /** All values, row-major; blocks the cell until they are computed. */
  dataSync(): TensorData {
    return this.read().slice();
  }

  /** The only element, as a number; blocks the cell until it is computed. */
  item(): number {
    if (this.size !== 1) {
      throw new ShapeError(
        `item: a tensor of shape ${formatShape(this.shape)} has ${String(this.size)} elements, expected one; ` +
          'reduce it with mean() or sum(), or use toArray()',
        { shape: this.shape },
      );
    }
    return this.read()[0] ?? Number.NaN;
  }

  /** Values as nested arrays of numbers (booleans for bool); a number for a scalar. Blocks the cell. */
  toArray(): Nested {
    return nest(this.read(), this.shape, this.dtype);
  }

  /** Writes shape, dtype and values to the cell's output. */
  print(label?: string): void {
    printTensor(this.node, label);
  }

  toString(): string {
    return `Tensor(${this.dtype} ${formatShape(this.shape)})`;
  }

  [JUPYTER_DISPLAY](): Record<string, string> {
    return displayTensor(this.node);
  }
  [NODE_INSPECT](): string {
    return displayTensor(this.node)['text/plain'] ?? this.toString();
  }

  private read(): TensorData {
    return this.settle(evaluateSync([this.node])[0]);
  }

  private settle(values: TensorData | undefined): TensorData {
    if (values === undefined) throw new ShapeError('data: the engine returned no value');
    // Later ops start from the value; a tensor that backward still has to pass keeps its history.
    const leaf = this.requiresGrad ? null : currentRuntime().knownLeaf(this.node);
    if (leaf !== null) this.current = leaf;
    return values;
  }

  // ── differentiation ─────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Adds dL/dw to `w.grad` of every parameter this scalar depends on. Nothing is computed before `opt.step()`.
   * @throws AutogradError when it has more than one element, depends on no parameter, or was differentiated before.
   */
  backward(options: { readonly retainGraph?: boolean } = {}): void {
    backward(this, options.retainGraph ?? false, (node) => new Tensor(node));
  }

  /** The same values, through which no gradient flows. */
  detach(): Tensor {
    return this.requiresGrad ? new Tensor(stopGradient(this.node)) : this;
  }

  // ── arithmetic ──────────────────────────────────────────────────────────────────────────────────────────────────

  add(other: Operand): Tensor {
    return this.with('add', other);
  }
  sub(other: Operand): Tensor {
    return this.with('sub', other);
  }
  mul(other: Operand): Tensor {
    return this.with('mul', other);
  }
  /** True division: integers become float32 first. */
  div(other: Operand): Tensor {
    return this.with('div', other);
  }
  /** Whole powers up to 3 and roots are exact for negative bases too. */
  pow(exponent: Operand): Tensor {
    if (exponent === 2) return this.map((x) => mul(x, x));
    if (exponent === 3) return this.map((x) => mul(mul(x, x), x));
    if (exponent === 0.5) return this.sqrt();
    return this.with('pow', exponent);
  }
  maximum(other: Operand): Tensor {
    return this.with('maximum', other);
  }
  minimum(other: Operand): Tensor {
    return this.with('minimum', other);
  }
  neg(): Tensor {
    return this.map((x) => emit('neg', [x], {}));
  }
  abs(): Tensor {
    return this.map((x) => emit('abs', [x], {}));
  }
  sign(): Tensor {
    return this.map((x) => emit('sign', [x], {}));
  }
  floor(): Tensor {
    return this.map((x) => emit('floor', [x], {}));
  }
  exp(): Tensor {
    return this.float((x) => emit('exp', [x], {}));
  }
  log(): Tensor {
    return this.float((x) => emit('log', [x], {}));
  }
  sqrt(): Tensor {
    return this.float((x) => emit('sqrt', [x], {}));
  }
  rsqrt(): Tensor {
    return this.float((x) => emit('rsqrt', [x], {}));
  }
  sin(): Tensor {
    return this.float((x) => emit('sin', [x], {}));
  }
  cos(): Tensor {
    return this.float((x) => emit('cos', [x], {}));
  }
  erf(): Tensor {
    return this.float((x) => emit('erf', [x], {}));
  }
  clip(min: number, max: number): Tensor {
    return this.float((x) => emit('clip', [x], { min, max }));
  }

  // ── comparison and selection ────────────────────────────────────────────────────────────────────────────────────

  equal(other: Operand): Tensor {
    return this.with('equal', other);
  }
  notEqual(other: Operand): Tensor {
    return this.with('notEqual', other);
  }
  less(other: Operand): Tensor {
    return this.with('less', other);
  }
  lessEqual(other: Operand): Tensor {
    return this.with('lessEqual', other);
  }
  greater(other: Operand): Tensor {
    return this.with('greater', other);
  }
  greaterEqual(other: Operand): Tensor {
    return this.with('greaterEqual', other);
  }
  logicalAnd(other: Tensor): Tensor {
    return combine([this, other], ([a, b]) => emit('logicalAnd', [a, b], {}));
  }
  logicalOr(other: Tensor): Tensor {
    return combine([this, other], ([a, b]) => emit('logicalOr', [a, b], {}));
  }
  logicalNot(): Tensor {
    return this.map((x) => emit('logicalNot', [x], {}));
  }
  /** `value` where `mask` is true, else this tensor's element. */
  maskedFill(mask: Tensor, value: number): Tensor {
    return combine([this, mask], ([x, m]) => emit('where', [m, scalarLike(value, x), x], {}));
  }

  // ── activations ─────────────────────────────────────────────────────────────────────────────────────────────────

  relu(): Tensor {
    return this.map(activations.relu);
  }
  leakyRelu(slope = 0.01): Tensor {
    return this.map((x) => activations.leakyRelu(x, slope));
  }
  gelu(): Tensor {
    return this.map(activations.gelu);
  }
  silu(): Tensor {
    return this.map(activations.silu);
  }
  sigmoid(): Tensor {
    return this.map(activations.sigmoid);
  }
  tanh(): Tensor {
    return this.map(activations.tanh);
  }
  softplus(): Tensor {
    return this.map(activations.softplus);
  }
  softmax(axis = -1): Tensor {
    return this.map((x) =>
      emit('softmax', [x], { axis: normalizeAxis('softmax', axis, this.ndim) }),
    );
  }
  logSoftmax(axis = -1): Tensor {
    return this.map((x) =>
      emit('logSoftmax', [x], { axis: normalizeAxis('logSoftmax', axis, this.ndim) }),
    );
  }
  /** Zeroes elements with probability `p` and scales the rest by 1 / (1 - p). */
  dropout(p = 0.5, training = true): Tensor {
    return training && p > 0 ? this.map((x) => random.dropout(x, p)) : this;
  }

  // ── reductions ──────────────────────────────────────────────────────────────────────────────────────────────────

  sum(axes?: Axes, { keepDims = false }: ReduceOptions = {}): Tensor {
    return this.map((x) => reductions.sum(x, axes, keepDims));
  }
  mean(axes?: Axes, { keepDims = false }: ReduceOptions = {}): Tensor {
    return this.map((x) => reductions.mean(x, axes, keepDims));
  }
  var(axes?: Axes, { keepDims = false, correction = 1 }: VarianceOptions = {}): Tensor {
    return this.map((x) => reductions.variance(x, axes, keepDims, correction));
  }
  std(axes?: Axes, options: VarianceOptions = {}): Tensor {
    return this.var(axes, options).sqrt();
  }
  max(axes?: Axes, { keepDims = false }: ReduceOptions = {}): Tensor {
    return this.map((x) => reductions.extremum('reduceMax', x, axes, keepDims));
  }
  min(axes?: Axes, { keepDims = false }: ReduceOptions = {}): Tensor {
    return this.map((x) => reductions.extremum('reduceMin', x, axes, keepDims));
  }
  /** int32 index of the first maximum; of the flattened tensor without an axis. */
  argMax(axis?: number): Tensor {
    return this.map((x) => reductions.argMax(x, axis));
  }
  argMin(axis?: number): Tensor {
    return this.map((x) => reductions.argMax(emit('neg', [x], {}), axis));
  }
  cumsum(axis: number): Tensor {
    return this.map((x) =>
      emit('cumsum', [x], {
        axis: normalizeAxis('cumsum', axis, this.ndim),
        exclusive: false,
        reverse: false,
      }),
    );
  }
  logSumExp(axis: number, { keepDims = false }: ReduceOptions = {}): Tensor {
    return this.map((x) => reductions.logSumExp(x, axis, keepDims));
  }
  /** L2 norm of all elements. */
  norm(): Tensor {
    return this.map(reductions.norm);
  }

  // ── shape ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** One extent may be -1. */
  reshape(shape: Shape): Tensor {
    return this.map((x) => indexing.reshapeTo(x, shape));
  }
  flatten(from = 0, to = -1): Tensor {
    return this.map((x) => indexing.flatten(x, from, to));
  }
  /** Without an axis every extent 1 goes. */
  squeeze(axis?: number): Tensor {
    return this.map((x) => indexing.squeeze(x, axis));
  }
  expandDims(axis: number): Tensor {
    return this.map((x) => indexing.expandDims(x, axis));
  }
  unsqueeze(axis: number): Tensor {
    return this.expandDims(axis);
  }
  /** Swaps two axes, the last two by default. */
  transpose(a = -2, b = -1): Tensor {
    return this.map((x) => indexing.swapAxes(x, a, b));
  }
  /** Axis i of the result is axis order[i] of this tensor. */
  permute(order: readonly number[]): Tensor {
    const perm = order.map((axis) => normalizeAxis('permute', axis, this.ndim));
    return this.map((x) => transpose(x, perm));
  }
  broadcastTo(shape: Shape): Tensor {
    return this.map((x) => emit('broadcastTo', [x], { shape }));
  }
  tile(repeats: readonly number[]): Tensor {
    return this.map((x) => emit('tile', [x], { repeats }));
  }
  /** `before` and `after` have one entry an axis. */
  pad(before: readonly number[], after: readonly number[], value = 0): Tensor {
    return this.map((x) => emit('pad', [x], { before, after, value }));
  }
  flip(axes: number | readonly number[]): Tensor {
    return this.map((x) => emit('reverse', [x], { axes: reductions.resolveAxes('flip', x, axes) }));
  }
  tril(diagonal = 0): Tensor {
    return this.map((x) => indexing.triangle(x, true, diagonal));
  }
  triu(diagonal = 0): Tensor {
    return this.map((x) => indexing.triangle(x, false, diagonal));
  }
  /** NumPy slicing: `x.at([0, '1:3'])` is `x[0, 1:3]`. */
  at(indices: readonly Index[]): Tensor {
    return this.map((x) => indexing.at(x, indices));
  }
  /** Elements `begin … end` of one axis, which stays. */
  slice(axis: number, begin: number, end: number): Tensor {
    const along = normalizeAxis('slice', axis, this.ndim);
    return this.at([...Array.from({ length: along }, () => ':'), [begin, end]]);
  }
  /** A number cuts pieces of that size, a list gives the sizes. */
  split(sizes: number | readonly number[], axis = 0): Tensor[] {
    return indexing
      .split(this.node, sizes, axis)
      .map((node) => derived(node, this.requiresGrad, [this.node]));
  }
  /** `pieces` parts of equal size. */
  chunk(pieces: number, axis = 0): Tensor[] {
    const along = normalizeAxis('chunk', axis, this.ndim);
    return this.split(Math.ceil((this.shape[along] ?? 0) / pieces), along);
  }
  cast(dtype: DType): Tensor {
    return this.map((x) => castTo(x, dtype));
  }
  toFloat(): Tensor {
    return this.cast('float32');
  }
  toInt(): Tensor {
    return this.cast('int32');
  }
  toBool(): Tensor {
    return this.cast('bool');
  }

  // ── selection by index ──────────────────────────────────────────────────────────────────────────────────────────

  /** Slices along `axis` at int32 `indices`; an index outside gives zeros. */
  gather(indices: Tensor, axis = 0): Tensor {
    return combine([this, indices], ([x, i]) =>
      emit('gather', [x, i], { axis: normalizeAxis('gather', axis, this.ndim) }),
    );
  }
  /** Rows of this table `[V, D]` at int32 `[...]` → `[..., D]`. */
  embedding(indices: Tensor): Tensor {
    return this.gather(indices, 0);
  }
  /** Sums these rows into `size` rows at int32 `indices`. */
  scatterAdd(indices: Tensor, size: number): Tensor {
    return combine([indices, this], ([i, x]) => emit('scatterAdd', [i, x], { size }));
  }
  oneHot(depth: number): Tensor {
    return this.map((x) => emit('oneHot', [castTo(x, 'int32')], { depth }));
  }

  // ── linear algebra, windows, norms ──────────────────────────────────────────────────────────────────────────────

  /** [..., M, K] × [..., K, N]; a vector on either side is a row or a column, as in PyTorch. */
  matMul(other: Tensor): Tensor {
    return combine([this, other], ([a, b]) => windows.matMul(a, b));
  }
  matmul(other: Tensor): Tensor {
    return this.matMul(other);
  }
  conv2d(weight: Tensor, options: ConvOptions = {}): Tensor {
    return combine([this, weight], ([x, w]) => windows.conv2d(x, w, options));
  }
  maxPool2d(kernelSize: Pair, options: PoolOptions = {}): Tensor {
    return this.map((x) => windows.pool2d('maxPool2d', x, kernelSize, options));
  }
  avgPool2d(kernelSize: Pair, options: PoolOptions = {}): Tensor {
    return this.map((x) => windows.pool2d('avgPool2d', x, kernelSize, options));
  }
  layerNorm(shape: Shape, epsilon = 1e-5): Tensor {
    return this.map((x) => norms.layerNorm(x, shape, norms.NO_AFFINE, epsilon));
  }
  groupNorm(groups: number, epsilon = 1e-5): Tensor {
    return this.map((x) => norms.groupNorm(x, groups, norms.NO_AFFINE, epsilon));
  }

  // ── losses ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** These are logits `[B, C, ...]`; target int32 `[B, ...]`, or probabilities of the same shape. */
  crossEntropy(target: Tensor, options: CrossEntropyOptions = {}): Tensor {
    return combine([this, target], ([x, y]) => losses.crossEntropy(x, y, options));
  }
  mse(target: Tensor): Tensor {
    return combine([this, target], ([x, y]) => losses.mse(x, y, 'mean'));
  }

  // ── internals ───────────────────────────────────────────────────────────────────────────────────────────────────

  private with(op: Parameters<typeof binary>[0], other: Operand): Tensor {
    if (typeof other === 'number') {
      return this.map((x) => binary(op, x, scalarLike(other, x)));
    }
    return combine([this, other], ([a, b]) => binary(op, a, b));
  }

  private map(build: (x: GraphNode) => GraphNode): Tensor {
    return derived(build(this.node), this.requiresGrad, [this.node]);
  }

  private float(build: (x: GraphNode) => GraphNode): Tensor {
    return this.map((x) => build(castTo(x, 'float32')));
  }
}

/** A tensor made from others: differentiable when one of them is and recording is on. */
function derived(node: GraphNode, fromGrad: boolean, inputs: readonly GraphNode[]): Tensor {
  const requiresGrad = fromGrad && isGradEnabled() && node.type.dtype === 'float32';
  const isCut = fromGrad && !requiresGrad && node.type.dtype === 'float32';
  const kept = isCut ? stopGradient(node) : node;
  noteCreated(kept, inputs, requiresGrad);
  return new Tensor(kept, requiresGrad);
}

type NodesOf<T extends readonly Tensor[]> = { readonly [K in keyof T]: GraphNode };

/** Builds one node from several tensors. */
export function combine<const T extends readonly Tensor[]>(
  tensors: T,
  build: (nodes: NodesOf<T>) => GraphNode,
): Tensor {
  const nodes = tensors.map((tensor) => tensor.node) as NodesOf<T>;
  return derived(
    build(nodes),
    tensors.some((tensor) => tensor.requiresGrad),
    nodes,
  );
}
