/** @file ONNX emission of convolution and of both its gradients. */
import type { OpParams, Shape, TensorType } from '@ravenlab/protocol';
import { sameShape } from '@ravenlab/protocol';
import type { Emit } from './emitRow.js';
import { operand } from './emitRow.js';
import type { Attributes, ModelBuilder, Operand, ValueName } from './modelBuilder.js';
import { reshaped } from './emitLayout.js';

type Window = OpParams['conv2d'];

function windowAttributes(window: Window): Attributes {
  return {
    strides: window.stride,
    pads: window.padding,
    dilations: window.dilation,
    group: window.groups,
  };
}

/** Convolution; `bias` has one element per output channel. */
export function emitConvolution(site: {
  readonly graph: ModelBuilder;
  readonly x: Operand;
  readonly w: Operand;
  readonly params: Window;
  readonly bias?: Operand;
}): ValueName {
  const { graph, x, w, params, bias } = site;
  const inputs = [x.name, w.name];
  if (bias !== undefined) inputs.push(reshaped(graph, bias, [w.type.shape[0] ?? 1]));
  return graph.node('Conv', inputs, {
    ...windowAttributes(params),
    kernel_shape: w.type.shape.slice(2),
  });
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

// The weight [O, C/g, kh, kw] of the forward form is ConvTranspose's [inputs, outputs/g, kh, kw] as it stands.
const emitGradInput: Emit<'conv2dGradInput'> = (inputs, { graph, params }) => {
  const dy = operand(inputs, 0);
  const w = operand(inputs, 1);
  const kernel = w.type.shape.slice(2);
  return graph.node('ConvTranspose', [dy.name, w.name], {
    ...windowAttributes(params),
    kernel_shape: kernel,
    output_padding: [
      unreached(0, params.inputSize, kernel, params),
      unreached(1, params.inputSize, kernel, params),
    ],
  });
};

/** The part of x that windows reach, with padding that ends exactly at the last window. */
function reachedInput(
  graph: ModelBuilder,
  x: Operand,
  params: OpParams['conv2dGradWeight'],
): { readonly x: Operand; readonly padding: readonly number[] } {
  const input = x.type.shape.slice(2);
  const padding = [...params.padding];
  const end = [...input];
  for (const axis of [0, 1] as const) {
    const excess = unreached(axis, input, params.kernelSize, params);
    const cropped = Math.max(0, excess - (padding[axis + 2] ?? 0));
    padding[axis + 2] = Math.max(0, (padding[axis + 2] ?? 0) - excess);
    end[axis] = (input[axis] ?? 0) - cropped;
  }
  if (sameShape(end, input)) return { x, padding };
  const name = graph.node('Slice', [
    x.name,
    graph.int64s([0, 0]),
    graph.int64s(end),
    graph.int64s([2, 3]),
  ]);
  const type: TensorType = { dtype: 'float32', shape: [...x.type.shape.slice(0, 2), ...end] };
  return { x: { name, type }, padding };
}

/**
 * dL/dw[o, c, i, j] = Σ over b, p, q of dy[b, o, p, q] · x[b, c, p·s + i·d - pad, q·s + j·d - pad]: a convolution in which batch and channels change
 * places, and stride and dilation too. With groups, the batch of each group becomes the channels of that group.
 */
const emitGradWeight: Emit<'conv2dGradWeight'> = (inputs, { graph, params }) => {
  const dy = operand(inputs, 1);
  const { groups } = params;
  const { x, padding } = reachedInput(graph, operand(inputs, 0), params);
  const swapped = swapBatch(graph, x, groups);
  const kernel = graph.node('Transpose', [dy.name], { perm: [1, 0, 2, 3] });
  const result = graph.node('Conv', [swapped, kernel], {
    strides: params.dilation,
    dilations: params.stride,
    pads: padding,
    group: groups,
    kernel_shape: dy.type.shape.slice(2),
  });
  return graph.node('Transpose', [result], { perm: [1, 0, 2, 3] });
};

/** [B, g·C', H, W] → [C', g·B, H, W]. */
function swapBatch(graph: ModelBuilder, x: Operand, groups: number): ValueName {
  if (groups === 1) return graph.node('Transpose', [x.name], { perm: [1, 0, 2, 3] });
  const [batch = 1, channels = 1, height = 1, width = 1] = x.type.shape;
  const grouped = reshaped(graph, x, [batch, groups, channels / groups, height, width]);
  const swapped = graph.node('Transpose', [grouped], { perm: [2, 1, 0, 3, 4] });
  const shape = [channels / groups, groups * batch, height, width];
  return graph.node('Reshape', [swapped, graph.int64s(shape)]);
}

export const EMIT_CONV = {
  conv2d: ((inputs, { graph, params }) =>
    emitConvolution({
      graph,
      params,
      x: operand(inputs, 0),
      w: operand(inputs, 1),
    })) satisfies Emit<'conv2d'>,
  conv2dGradInput: emitGradInput,
  conv2dGradWeight: emitGradWeight,
};
