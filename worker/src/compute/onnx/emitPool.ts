/** @file ONNX emission of pooling and its gradients. */
import type { OpParams, TensorType } from '@ravenlab/protocol';
import { sizeOf } from '@ravenlab/protocol';
import type { Emit } from './emitRow.js';
import { operand } from './emitRow.js';
import type { Attributes, ModelBuilder, Operand, ValueName } from './modelBuilder.js';
import { reshaped } from './emitLayout.js';

type Window = OpParams['maxPool2d'];

function windowAttributes(window: Window): Attributes {
  return { kernel_shape: window.kernel, strides: window.stride, pads: window.padding };
}

const maxPool2d: Emit<'maxPool2d'> = (inputs, { graph, params }) =>
  graph.node('MaxPool', [operand(inputs, 0).name], windowAttributes(params));

/** Flat int64 index of each window's first maximum; -1 (all NaN) points at 0, where NaN is found by the output check. */
function maximaOf(graph: ModelBuilder, x: Operand, window: Window): ValueName {
  const [, indices = ''] = graph.multi({
    op: 'MaxPool',
    inputs: [x.name],
    attributes: windowAttributes(window),
    outputs: 2,
  });
  return graph.node('Max', [indices, graph.int64(0)]);
}

/** dy goes to the first maximum of its window; windows that overlap add up. */
const maxPool2dGrad: Emit<'maxPool2dGrad'> = (inputs, { graph, params, type }) => {
  const dy = operand(inputs, 1);
  const maxima = maximaOf(graph, operand(inputs, 0), params);
  const doOverlap = params.kernel.some((extent, axis) => extent > (params.stride[axis] ?? 1));
  if (!doOverlap) {
    const inputs = [dy.name, maxima, graph.int64s(type.shape)];
    return graph.node('MaxUnpool', inputs, windowAttributes(params));
  }
  const flat = [sizeOf(dy.type.shape)];
  const size: TensorType = { dtype: 'float32', shape: [sizeOf(type.shape)] };
  const scattered = graph.node(
    'ScatterElements',
    [
      graph.filled(size, 0),
      graph.node('Reshape', [maxima, graph.int64s(flat)]),
      reshaped(graph, dy, flat),
    ],
    { axis: 0, reduction: 'add' },
  );
  return reshaped(graph, { name: scattered, type: size }, type.shape);
};

const avgPool2d: Emit<'avgPool2d'> = (inputs, { graph, params }) =>
  graph.node('AveragePool', [operand(inputs, 0).name], {
    ...windowAttributes(params),
    count_include_pad: 1,
  });

function spread(input: number, kernel: number, stride: number, pads: number): number {
  return (input + pads - kernel) % stride;
}

/** Every channel by itself is a transposed convolution with a window of 1/area. */
const avgPool2dGrad: Emit<'avgPool2dGrad'> = (inputs, { graph, params, type }) => {
  const dy = operand(inputs, 0);
  const [batch = 1, channels = 1, height = 1, width = 1] = dy.type.shape;
  const [kh = 1, kw = 1] = params.kernel;
  const [sh = 1, sw = 1] = params.stride;
  const [top = 0, left = 0, bottom = 0, right = 0] = params.padding;
  const [inputH = 1, inputW = 1] = params.inputSize;
  const images = reshaped(graph, dy, [batch * channels, 1, height, width]);
  const window = graph.filled({ dtype: 'float32', shape: [1, 1, kh, kw] }, 1 / (kh * kw));
  const result = graph.node('ConvTranspose', [images, window], {
    ...windowAttributes(params),
    output_padding: [spread(inputH, kh, sh, top + bottom), spread(inputW, kw, sw, left + right)],
  });
  const flat: TensorType = { dtype: 'float32', shape: [batch * channels, 1, inputH, inputW] };
  return reshaped(graph, { name: result, type: flat }, type.shape);
};

export const EMIT_POOL = { maxPool2d, maxPool2dGrad, avgPool2d, avgPool2dGrad };
