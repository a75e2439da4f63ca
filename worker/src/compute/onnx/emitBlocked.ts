/**
 * @file Convolutions by ONNX Runtime's own kernels for channels in blocks ([B, C/8, H, W, 8]), which multiply without copying
 * the image out first. They are faster than those over plain images where both sides have whole blocks of channels. Each row
 * of the result is one thread's, added up in one order: the bits do not depend on threads. Which convolutions come here is
 * decided by shape alone; plain ones are in emitConv.ts.
 *
 * What moves elements is left to kernels that threads share (modelBuilder.ts says why): into blocks, out of them, and rows picked by a list;
 * not to Transpose, Pad and Slice.
 */
import type { OpParams, Shape } from '@ravenlab/protocol';
import { sizeOf } from '@ravenlab/protocol';
import type { Attributes, ModelBuilder, Operand, ValueName } from './modelBuilder.js';
import { BLOCKED_DOMAIN } from './modelBuilder.js';

/** Of smaller images, turning the weight costs what the product saves; how many there are must not change their bits. */
const PIXELS_MIN = 49;
/** Channels of a block, on one processor or another. */
export const CHANNEL_BLOCKS: readonly number[] = [8, 16];
/** A gradient this large no longer fits the caches, and every kernel position of the weight reads all of it. */
const GRADIENT_BYTES_MAX = 8 * 2 ** 20;
/** The terms of so many pixels, times a block of images, are added up in one go: more would cost digits. */
const GRADIENT_PIXELS_MAX = 1024;

type Window = OpParams['conv2d'];

function areWholeBlocks(block: number, ...channels: readonly number[]): boolean {
  return block > 0 && channels.every((count) => count > 0 && count % block === 0);
}

function blocked(
  graph: ModelBuilder,
  op: string,
  inputs: readonly ValueName[],
  attributes: Attributes,
): ValueName {
  const [result = ''] = graph.multi({ op, inputs, attributes, outputs: 1, domain: BLOCKED_DOMAIN });
  return result;
}

function viewed(graph: ModelBuilder, x: ValueName, shape: Shape): ValueName {
  return graph.node('Reshape', [x, graph.int64s(shape)]);
}

function intoBlocks(graph: ModelBuilder, x: ValueName): ValueName {
  return blocked(graph, 'ReorderInput', [x], { channels_last: 0 });
}

function outOfBlocks(graph: ModelBuilder, x: ValueName, channels: number): ValueName {
  return blocked(graph, 'ReorderOutput', [x], { channels, channels_last: 0 });
}

export interface BlockedSite {
  readonly x: ValueName;
  /** [O, I, kh, kw] */
  readonly w: Operand;
  /** Then its channels change places and it is turned by 180°: the weight of the way back. */
  readonly isTurned?: boolean;
  /** One element per output channel. */
  readonly bias?: ValueName;
  readonly window: Pick<Window, 'stride' | 'padding' | 'dilation'>;
}

/**
 * Whether a convolution is better done in blocks.
 * @param weight [O, I, kh, kw]
 * @param result [B, O, H', W']
 */
export function isBetterBlocked(
  channelBlock: number,
  groups: number,
  weight: Shape,
  result: Shape,
): boolean {
  const [outputs = 0, inputs = 0, ...kernel] = weight;
  const pixels = sizeOf(result.slice(2));
  // Of a single position no copies are made: a plain product is as good.
  return (
    groups === 1 &&
    sizeOf(kernel) > 1 &&
    pixels >= PIXELS_MIN &&
    areWholeBlocks(channelBlock, outputs, inputs)
  );
}

/** The result, not in blocks. */
export function blockedConvolution(graph: ModelBuilder, site: BlockedSite): ValueName {
  const { x, w, isTurned = false, bias, window } = site;
  const [first = 0, second = 0, kh = 1, kw = 1] = w.type.shape;
  const [outputs, inputs] = isTurned ? [second, first] : [first, second];
  const blocks = isTurned ? turnedWeight(graph, w) : weightInBlocks(graph, w);
  const filter = viewed(graph, blocks, [outputs, inputs, kh, kw]);
  const operands = [intoBlocks(graph, x), filter];
  if (bias !== undefined) operands.push(bias);
  const y = blocked(graph, 'Conv', operands, {
    strides: window.stride,
    pads: window.padding,
    dilations: window.dilation,
    group: 1,
    kernel_shape: [kh, kw],
  });
  return outOfBlocks(graph, y, outputs);
}

/** w [O, I, kh, kw] → [O/8, I/8, k, 8 of I, 8 of O] */
function weightInBlocks(graph: ModelBuilder, w: Operand): ValueName {
  const block = graph.kernels.channelBlock;
  const [outputs = 0, inputs = 0, ...kernel] = w.type.shape;
  const area = sizeOf(kernel);
  const view = [outputs / block, block, inputs, area];
  // [O/8, I, k, 8 of O]
  const rows = intoBlocks(graph, viewed(graph, w.name, view));
  return pickedRows(graph, rows, block, {
    steps: [
      { count: outputs / block, stride: inputs * area },
      { count: inputs / block, stride: block * area },
      { count: area, stride: 1 },
      { count: block, stride: area },
    ],
  });
}

/** w [O, I, kh, kw] → [I/8, O/8, k, 8 of O, 8 of I], the kernel from its end. */
function turnedWeight(graph: ModelBuilder, w: Operand): ValueName {
  const block = graph.kernels.channelBlock;
  const [outputs = 0, inputs = 0, ...kernel] = w.type.shape;
  const area = sizeOf(kernel);
  const view = [(outputs * inputs) / block, block, area, 1];
  // [O, I/8, k, 8 of I]
  const rows = intoBlocks(graph, viewed(graph, w.name, view));
  const output = (inputs / block) * area;
  return pickedRows(graph, rows, block, {
    first: area - 1,
    steps: [
      { count: inputs / block, stride: area },
      { count: outputs / block, stride: block * output },
      { count: area, stride: -1 },
      { count: block, stride: output },
    ],
  });
}

/** @param dy Shape of the gradient of the result, [B, O, H', W'], which plays the weight. */
export function isGradWeightBetterBlocked(
  channelBlock: number,
  { groups, kernelSize }: OpParams['conv2dGradWeight'],
  dy: Shape,
): boolean {
  const [batch = 0, outputs = 0, ...image] = dy;
  return (
    groups === 1 &&
    sizeOf(kernelSize) > 1 &&
    sizeOf(image) <= GRADIENT_PIXELS_MAX &&
    4 * sizeOf(dy) <= GRADIENT_BYTES_MAX &&
    areWholeBlocks(channelBlock, batch, outputs)
  );
}

/**
 * dL/dw as a convolution: images change places with channels, dy [B, O, H', W'] is the weight, stride and dilation are each
 * other.
 * @param type Shape of the result, [O, I, kh, kw].
 */
export function blockedGradWeight(
  graph: ModelBuilder,
  x: Operand,
  dy: Operand,
  { window, shape }: { readonly window: Window; readonly shape: Shape },
): ValueName {
  const block = graph.kernels.channelBlock;
  const [outputs = 0, inputs = 0, ...kernel] = shape;
  const area = sizeOf(kernel);
  const [, , outH = 1, outW = 1] = dy.type.shape;
  const image = imagesAsChannels(graph, x, window, { kernel, image: [outH, outW] });
  const y = blocked(graph, 'Conv', [image, imagesAsWeight(graph, dy)], {
    strides: window.dilation,
    pads: [0, 0, 0, 0],
    dilations: window.stride,
    group: 1,
    kernel_shape: [outH, outW],
  });
  // [I, O/8, k, 8 of O] → [O/8, I, k, 8 of O]
  const rows = [inputs, outputs / block, area * block] as const;
  const view = [outputs / block, block, inputs, area];
  const turned = viewed(graph, rowsSwapped(graph, y, rows), view);
  return viewed(graph, outOfBlocks(graph, turned, block), shape);
}

/** x [B, I, H, W] in blocks of images, [I, B/8, H, W, 8], padded exactly as far as the last window reaches. */
function imagesAsChannels(
  graph: ModelBuilder,
  x: Operand,
  { padding, stride, dilation }: Window,
  { kernel, image }: { readonly kernel: Shape; readonly image: Shape },
): ValueName {
  const [batch = 0, channels = 0, height = 0, width = 0] = x.type.shape;
  const swapped = rowsSwapped(graph, x.name, [batch, channels, height * width]);
  const images = viewed(graph, swapped, [channels, batch, height, width]);
  const before = [padding[0] ?? 0, padding[1] ?? 0];
  // Negative where the stride leaves rows over.
  const after = [0, 1].map((axis) => {
    const reach =
      ((image[axis] ?? 1) - 1) * (stride[axis] ?? 1) +
      ((kernel[axis] ?? 1) - 1) * (dilation[axis] ?? 1) +
      1;
    return reach - (before[axis] ?? 0) - (x.type.shape[axis + 2] ?? 1);
  });
  const cuts = [0, 0, 0, 0, 0, 0, ...after.map((extent) => Math.min(0, extent))];
  const isCut = cuts.some((extent) => extent < 0);
  const whole = isCut ? graph.node('Pad', [images, graph.int64s(cuts)]) : images;
  return padded(graph, intoBlocks(graph, whole), {
    channels: batch,
    pads: [...before, ...after.map((extent) => Math.max(0, extent))],
  });
}

/**
 * With a frame of zeros: a convolution of each channel with a single 1. The product behind it does not get the padding as its own, since
 * the kernels do windows at an edge one by one, and here all are.
 */
function padded(
  graph: ModelBuilder,
  x: ValueName,
  { channels, pads }: { readonly channels: number; readonly pads: readonly number[] },
): ValueName {
  if (pads.every((extent) => extent === 0)) return x;
  const ones = graph.filled({ dtype: 'float32', shape: [channels, 1, 1, 1] }, 1);
  return blocked(graph, 'Conv', [x, ones], { pads, group: channels, kernel_shape: [1, 1] });
}

/** dy [B, O, H', W'] as a weight in blocks, [O/8, B/8, H', W', 8 of B, 8 of O]. */
function imagesAsWeight(graph: ModelBuilder, dy: Operand): ValueName {
  const block = graph.kernels.channelBlock;
  const [batch = 0, outputs = 0, height = 1, width = 1] = dy.type.shape;
  const area = height * width;
  // [B, O/8, pixels, 8 of O] → [O/8, B, pixels, 8 of O]
  const rows = [batch, outputs / block, area * block] as const;
  const turned = rowsSwapped(graph, intoBlocks(graph, dy.name), rows);
  // Images for pixels, pixels for channels, of which they are the outer part: [.., 8 of B, pixels · 8 of O] → [.., pixels, 8 of B, 8 of O].
  const views = [(outputs / block) * (batch / block), block, 1, area * block];
  const view = viewed(graph, turned, views);
  const weight = blocked(graph, 'ReorderInput', [view], { channels_last: 1 });
  return viewed(graph, weight, [outputs, batch, height, width]);
}

/** [n, m, k] → [m, n, k] */
function rowsSwapped(
  graph: ModelBuilder,
  x: ValueName,
  [n, m, k]: readonly [number, number, number],
): ValueName {
  const steps = [
    { count: m, stride: 1 },
    { count: n, stride: m },
  ];
  return pickedRows(graph, x, k, { steps });
}

interface Picked {
  /** Row that comes first. */
  readonly first?: number;
  /** From the outermost: how many rows, and how far one lies behind the other. */
  readonly steps: readonly { readonly count: number; readonly stride: number }[];
}

/** Rows of `width` elements in another order. The list of them is made when the model is loaded, so that models stay small. */
function pickedRows(
  graph: ModelBuilder,
  x: ValueName,
  width: number,
  { first = 0, steps }: Picked,
): ValueName {
  const counted = steps.filter(({ count }) => count > 1);
  let inside = 1;
  const isInOrder = counted.every((_, i) => {
    const { count, stride } = counted[counted.length - 1 - i] ?? { count: 1, stride: 0 };
    const isNext = stride === inside;
    inside *= count;
    return isNext;
  });
  if (isInOrder) return x;
  const lines = counted.map(({ count, stride }, axis) => {
    const start = axis === 0 ? first : 0;
    const bounds = [start, start + count * stride, stride];
    const line = graph.node(
      'Range',
      bounds.map((bound) => graph.scalar('int32', bound)),
    );
    const shape = counted.map((step, other) => (other === axis ? step.count : 1));
    return viewed(graph, line, shape);
  });
  const order = lines.reduce((sum, line) => graph.node('Add', [sum, line]));
  const rows = viewed(graph, x, [-1, width]);
  const list = viewed(graph, order, [-1]);
  return graph.node('Gather', [rows, list], { axis: 0 });
}
