/** @file ONNX emission of convolution and of both its gradients. */
import type { OpParams, Shape, TensorType } from '@ravenlab/protocol';
import { sizeOf } from '@ravenlab/protocol';
import type { Emit } from './emitRow.js';
import { operand } from './emitRow.js';
import type { Attributes, ModelBuilder, Operand, ValueName } from './modelBuilder.js';
import { BEFORE_FIRST, reshaped } from './emitLayout.js';
import {
  blockedConvolution,
  blockedGradWeight,
  isBetterBlocked,
  isGradWeightBetterBlocked,
} from './emitBlocked.js';
import { emitProduct } from './emitMatMul.js';
import { safeConvThreads, safeThreads } from './threadCut.js';

type Window = OpParams['conv2d'];

function windowAttributes(window: Window): Attributes {
  return {
    strides: window.stride,
    pads: window.padding,
    dilations: window.dilation,
    group: window.groups,
  };
}

interface ConvSite {
  readonly graph: ModelBuilder;
  readonly x: Operand;
  readonly w: Operand;
  readonly params: Window;
  /** Of the result. */
  readonly type: TensorType;
  readonly bias?: Operand;
}

/** Convolution; `bias` has one element per output channel. */
export function emitConvolution(site: ConvSite): ValueName {
  const { graph, x, w, params, type } = site;
  const bias = site.bias && reshaped(graph, site.bias, [w.type.shape[0] ?? 1]);
  if (isBetterBlocked(graph.kernels.channelBlock, params.groups, w.type.shape, type.shape)) {
    const operands = { x: x.name, w, ...(bias === undefined ? {} : { bias }) };
    return blockedConvolution(graph, { ...operands, window: params });
  }
  const inputs = [x.name, w.name];
  if (bias !== undefined) inputs.push(bias);
  limitThreads(site);
  return graph.node('Conv', inputs, {
    ...windowAttributes(params),
    kernel_shape: w.type.shape.slice(2),
  });
}

/** Several images or groups are shared whole among threads; the product of a lone one is cut. */
function limitThreads({ graph, w, params, type }: ConvSite): void {
  const [batch = 1, outChannels = 1, height = 1, width = 1] = type.shape;
  if (batch * params.groups > 1) return;
  const depth = sizeOf(w.type.shape) / (w.type.shape[0] ?? 1);
  graph.limitThreads(safeConvThreads({ rows: outChannels, depth, columns: height * width }));
}

/**
 * Rows (or columns) of the input that no window reaches, because the stride does not divide evenly:
 * (H + pads - d·(k-1) - 1) mod s.
 */
function unreached(axis: 0 | 1, input: Shape, kernel: Shape, window: Window): number {
  const pads = (window.padding[axis] ?? 0) + (window.padding[axis + 2] ?? 0);
  const reach = (window.dilation[axis] ?? 1) * ((kernel[axis] ?? 1) - 1) + 1;
  return ((input[axis] ?? 1) + pads - reach) % (window.stride[axis] ?? 1);
}

/** Fewer channels than this leave a convolution kernel nothing to vectorise over. */
const FEW_CHANNELS = 8;

/** With stride 1 the gradient is itself a convolution, of dy with the flipped weight: up to twice as fast on many threads. */
function flippedPadding(params: Window, kernel: Shape): readonly number[] | undefined {
  if (params.groups !== 1 || params.stride.some((step) => step !== 1)) return undefined;
  const padding = params.padding.map(
    (pad, side) => (params.dilation[side % 2] ?? 1) * ((kernel[side % 2] ?? 1) - 1) - pad,
  );
  return padding.some((pad) => pad < 0) ? undefined : padding;
}

const emitGradInput: Emit<'conv2dGradInput'> = (inputs, { graph, params, type }) => {
  const dy = operand(inputs, 0);
  const w = operand(inputs, 1);
  const [outChannels = 1, channels = 1, ...kernel] = w.type.shape;
  const kernelArea = sizeOf(kernel);
  const padding = flippedPadding(params, kernel);
  if (padding !== undefined && Math.min(outChannels, channels) >= FEW_CHANNELS) {
    if (
      isBetterBlocked(graph.kernels.channelBlock, 1, [channels, outChannels, ...kernel], type.shape)
    ) {
      const window = { stride: [1, 1], padding, dilation: params.dilation } as const;
      return blockedConvolution(graph, { x: dy.name, w, isTurned: true, window });
    }
    if ((type.shape[0] ?? 1) === 1) {
      const columns = sizeOf(type.shape.slice(2));
      const depth = outChannels * kernelArea;
      graph.limitThreads(safeConvThreads({ rows: channels, depth, columns }));
    }
    return graph.node('Conv', [dy.name, flipped(graph, w)], {
      pads: padding,
      dilations: params.dilation,
      kernel_shape: kernel,
    });
  }
  graph.limitThreads(
    safeThreads({
      rows: channels * kernelArea,
      depth: outChannels / params.groups,
      columns: sizeOf(dy.type.shape.slice(2)),
    }),
  );
  // The weight [O, C/g, kh, kw] of the forward form is ConvTranspose's [inputs, outputs/g, kh, kw] as it stands.
  return graph.node('ConvTranspose', [dy.name, w.name], {
    ...windowAttributes(params),
    kernel_shape: kernel,
    output_padding: [
      unreached(0, params.inputSize, kernel, params),
      unreached(1, params.inputSize, kernel, params),
    ],
  });
};

/** [O, C, kh, kw] → [C, O, kh, kw], turned by 180°. */
function flipped(graph: ModelBuilder, w: Operand): ValueName {
  const [, , kh = 1, kw = 1] = w.type.shape;
  const swapped = graph.node('Transpose', [w.name], { perm: [1, 0, 2, 3] });
  if (kh === 1 && kw === 1) return swapped;
  return graph.node('Slice', [
    swapped,
    graph.int64s([kh - 1, kw - 1]),
    graph.int64s([BEFORE_FIRST, BEFORE_FIRST]),
    graph.int64s([2, 3]),
    graph.int64s([-1, -1]),
  ]);
}

/** Above this, columns of all kernel positions at once would take too much memory. */
const COLUMN_BYTES = 128 * 2 ** 20;

/**
 * dL/dw[o, c, i, j] = Σ over b, p, q of dy[b, o, p, q] · x[b, c, p·s + i·d - pad, q·s + j·d - pad]. For one kernel position (i, j) that is a matrix
 * product of dy [O, B·H'·W'] with a strided slice of x [C, B·H'·W']; all positions together are one product. The textbook
 * form, a convolution with batch and channels exchanged, has a kernel as large as the image and runs 2 – 5 times slower.
 */
const emitGradWeight: Emit<'conv2dGradWeight'> = (inputs, { graph, params, type }) => {
  const dy = operand(inputs, 1);
  if (isGradWeightBetterBlocked(graph.kernels.channelBlock, params, dy.type.shape)) {
    const site = { window: params, shape: type.shape };
    return blockedGradWeight(graph, operand(inputs, 0), dy, site);
  }
  const { groups } = params;
  const [outChannels = 1, groupChannels = 1, kh = 1, kw = 1] = type.shape;
  const [batch = 1, , outH = 1, outW = 1] = dy.type.shape;
  const depth = batch * outH * outW;
  const positions = kernelSlices(graph, operand(inputs, 0), params, [outH, outW]).map((slice) =>
    graph.node('Reshape', [slice, graph.int64s([groups, groupChannels, depth])]),
  );
  const gradient = graph.node('Reshape', [
    graph.node('Transpose', [dy.name], { perm: [1, 0, 2, 3] }),
    graph.int64s([groups, outChannels / groups, depth]),
  ]);
  const product = (columns: ValueName, count: number): ValueName =>
    emitProduct({
      graph,
      a: floats(gradient, [groups, outChannels / groups, depth]),
      b: floats(columns, [groups, count * groupChannels, depth]),
      params: { transposeA: false, transposeB: true },
      type: floats('', [groups, outChannels / groups, count * groupChannels]).type,
    });
  const columnBytes = 4 * kh * kw * groups * groupChannels * depth;
  const isWhole = positions.length === 1 || columnBytes <= COLUMN_BYTES;
  const joined = isWhole
    ? product(concatenated(graph, positions, 1), positions.length)
    : concatenated(
        graph,
        positions.map((columns) => product(columns, 1)),
        2,
      );
  const split = graph.node('Reshape', [
    joined,
    graph.int64s([outChannels, kh * kw, groupChannels]),
  ]);
  const ordered = graph.node('Transpose', [split], { perm: [0, 2, 1] });
  return graph.node('Reshape', [ordered, graph.int64s(type.shape)]);
};

function floats(name: ValueName, shape: Shape): Operand {
  return { name, type: { dtype: 'float32', shape } };
}

function concatenated(graph: ModelBuilder, parts: readonly ValueName[], axis: number): ValueName {
  const [only = ''] = parts;
  return parts.length === 1 ? only : graph.node('Concat', parts, { axis });
}

/** For each kernel position, row by row: the elements of x that it meets, [C, B, H', W']. */
function kernelSlices(
  graph: ModelBuilder,
  x: Operand,
  params: OpParams['conv2dGradWeight'],
  [outH, outW]: readonly [number, number],
): ValueName[] {
  const [top = 0, left = 0, bottom = 0, right = 0] = params.padding;
  const [sh = 1, sw = 1] = params.stride;
  const [dh = 1, dw = 1] = params.dilation;
  const [kh = 1, kw = 1] = params.kernelSize;
  const swapped = graph.node('Transpose', [x.name], { perm: [1, 0, 2, 3] });
  const isPadded = top + left + bottom + right > 0;
  const padded = isPadded
    ? graph.node('Pad', [swapped, graph.int64s([0, 0, top, left, 0, 0, bottom, right])])
    : swapped;
  const slices: ValueName[] = [];
  for (let i = 0; i < kh; i++) {
    for (let j = 0; j < kw; j++) {
      slices.push(
        graph.node('Slice', [
          padded,
          graph.int64s([i * dh, j * dw]),
          graph.int64s([i * dh + (outH - 1) * sh + 1, j * dw + (outW - 1) * sw + 1]),
          graph.int64s([2, 3]),
          graph.int64s([sh, sw]),
        ]),
      );
    }
  }
  return slices;
}

export const EMIT_CONV = {
  conv2d: ((inputs, { graph, params, type }) =>
    emitConvolution({
      graph,
      params,
      type,
      x: operand(inputs, 0),
      w: operand(inputs, 1),
    })) satisfies Emit<'conv2d'>,
  conv2dGradInput: emitGradInput,
  conv2dGradWeight: emitGradWeight,
};
