/** @file Matrix product, convolution and pooling with the parameter forms of PyTorch. */
import type { OpParams } from '@ravenlab/protocol';
import { formatShape, ShapeError } from '@ravenlab/protocol';
import type { GraphNode } from '../../core/graph/node.js';
import { emit, reshape } from '../emit.js';
import { rounded } from '../precision.js';
import { currentRuntime } from '../runtime.js';

/** One number for both axes, or [height, width]. */
export type Pair = number | readonly [number, number];

/** `'same'` keeps the spatial size (stride 1); an odd surplus goes below and to the right, as in PyTorch. */
export type Padding = Pair | 'same' | 'valid';

export interface ConvOptions {
  readonly stride?: Pair;
  readonly padding?: Padding;
  readonly dilation?: Pair;
  readonly groups?: number;
}

export interface PoolOptions {
  /** Kernel size when left out. */
  readonly stride?: Pair;
  readonly padding?: Pair;
}

export function pairOf(value: Pair): [number, number] {
  return typeof value === 'number' ? [value, value] : [value[0], value[1]];
}

/** [top, left, bottom, right]. */
function sides(
  padding: Padding,
  kernel: readonly [number, number],
  stride: readonly [number, number],
  dilation: readonly [number, number],
): number[] {
  if (padding === 'valid') return [0, 0, 0, 0];
  if (padding !== 'same') {
    const [vertical, horizontal] = pairOf(padding);
    return [vertical, horizontal, vertical, horizontal];
  }
  if (stride[0] !== 1 || stride[1] !== 1) {
    throw new ShapeError(
      `conv2d: padding 'same' needs stride 1, got [${stride.join(', ')}]; give the padding as a number`,
    );
  }
  const height = dilation[0] * (kernel[0] - 1);
  const width = dilation[1] * (kernel[1] - 1);
  const [top, left] = [Math.floor(height / 2), Math.floor(width / 2)];
  return [top, left, height - top, width - left];
}

/** A product of x and y in the precision of the session. */
function product<N extends 'matMul' | 'conv2d'>(
  op: N,
  x: GraphNode,
  y: GraphNode,
  params: OpParams[N],
): GraphNode {
  const { compute } = currentRuntime();
  return emit(op, [rounded(x, compute), rounded(y, compute)], params);
}

/** x `[B, C, H, W]`, weight `[O, C/groups, kh, kw]` → `[B, O, H', W']`. */
export function conv2d(x: GraphNode, weight: GraphNode, options: ConvOptions): GraphNode {
  const kernel: [number, number] = [weight.type.shape[2] ?? 1, weight.type.shape[3] ?? 1];
  const stride = pairOf(options.stride ?? 1);
  const dilation = pairOf(options.dilation ?? 1);
  const padding = sides(options.padding ?? 0, kernel, stride, dilation);
  return product('conv2d', x, weight, { stride, dilation, padding, groups: options.groups ?? 1 });
}

/** x `[B, C, L]`, weight `[O, C/groups, k]` → `[B, O, L']`: a convolution of height 1. */
export function conv1d(
  x: GraphNode,
  weight: GraphNode,
  options: { readonly stride: number; readonly padding: number; readonly dilation: number },
): GraphNode {
  const [batch, channels, length] = x.type.shape;
  const [out, inner, kernel] = weight.type.shape;
  if (x.type.shape.length !== 3 || weight.type.shape.length !== 3) {
    throw new ShapeError(
      `conv1d: expected input [B, C, L] and weight [O, C, k], got ${formatShape(x.type.shape)} and ${formatShape(weight.type.shape)}`,
    );
  }
  const image = reshape(x, [batch ?? 0, channels ?? 0, 1, length ?? 0]);
  const filter = reshape(weight, [out ?? 0, inner ?? 0, 1, kernel ?? 0]);
  const y = product('conv2d', image, filter, {
    stride: [1, options.stride],
    dilation: [1, options.dilation],
    padding: [0, options.padding, 0, options.padding],
    groups: 1,
  });
  return reshape(y, [y.type.shape[0] ?? 0, y.type.shape[1] ?? 0, y.type.shape[3] ?? 0]);
}

export function pool2d(
  op: 'maxPool2d' | 'avgPool2d',
  x: GraphNode,
  kernelSize: Pair,
  options: PoolOptions,
): GraphNode {
  const kernel = pairOf(kernelSize);
  const [vertical, horizontal] = pairOf(options.padding ?? 0);
  return emit(op, [x], {
    kernel,
    stride: pairOf(options.stride ?? kernel),
    padding: [vertical, horizontal, vertical, horizontal],
  });
}

/** [..., M, K] × [..., K, N]; a vector on the left is a row, on the right a column, and its axis goes again. */
export function matMul(a: GraphNode, b: GraphNode): GraphNode {
  const [rankA, rankB] = [a.type.shape.length, b.type.shape.length];
  if (rankA === 0 || rankB === 0) {
    throw new ShapeError(
      `matMul: needs rank ≥ 1 on both sides, got ${formatShape(a.type.shape)} and ${formatShape(b.type.shape)}; use mul for scalars`,
      { a: a.type.shape, b: b.type.shape },
    );
  }
  const left = rankA === 1 ? reshape(a, [1, ...a.type.shape]) : a;
  const right = rankB === 1 ? reshape(b, [...b.type.shape, 1]) : b;
  const y = product('matMul', left, right, { transposeA: false, transposeB: false });
  if (rankA > 1 && rankB > 1) return y;
  const batch = y.type.shape.slice(0, -2);
  const [m = 1, n = 1] = y.type.shape.slice(-2);
  return reshape(y, [...batch, ...(rankA > 1 ? [m] : []), ...(rankB > 1 ? [n] : [])]);
}

/** x `[..., K]` × weight `[N, K]`ᵀ → `[..., N]`. @throws ShapeError naming both shapes. */
export function matMulTransposed(x: GraphNode, weight: GraphNode): GraphNode {
  return product('matMul', x, weight, { transposeA: false, transposeB: true });
}
