/**
 * @file Convolutions by ONNX Runtime's own kernels for channels in blocks ([B, C/8, H, W, 8]), which multiply without copying
 * the image out first. They are faster than those over plain images where both sides have whole blocks of channels. Each row
 * of the result is one thread's, added up in one order: the bits do not depend on threads. Which convolutions come here is
 * decided by shape alone; plain ones are in emitConv.ts.
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
  { channelBlock }: Pick<ModelBuilder, 'channelBlock'>,
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
  const { x, w, bias, window } = site;
  const block = graph.channelBlock;
  const [outputs = 0, inputs = 0, kh = 1, kw = 1] = w.type.shape;
  // [O, I, k] → [O/8, I/8, k, 8 of I, 8 of O]
  const apart = [outputs / block, block, inputs / block, block, kh * kw];
  const split = graph.node('Reshape', [w.name, graph.int64s(apart)]);
  const ordered = graph.node('Transpose', [split], { perm: [0, 2, 4, 3, 1] });
  const filter = graph.node('Reshape', [ordered, graph.int64s([outputs, inputs, kh, kw])]);
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

/** @param dy Shape of the gradient of the result, [B, O, H', W'], which plays the weight. */
export function isGradWeightBetterBlocked(
  { channelBlock }: ModelBuilder,
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
 * other. x is padded ahead, or cut where no window reaches: the kernels do pixels at an edge one by one.
 * @param type Shape of the result, [O, I, kh, kw].
 */
export function blockedGradWeight(
  graph: ModelBuilder,
  x: Operand,
  dy: Operand,
  { window, shape }: { readonly window: Window; readonly shape: Shape },
): ValueName {
  const block = graph.channelBlock;
  const [batch = 0, outputs = 0, outH = 1, outW = 1] = dy.type.shape;
  const padded = padToFit(graph, x, window, { kernel: shape.slice(2), image: [outH, outW] });
  // [B, O/8, pixels, 8 of O] → [O/8, B/8, pixels, 8 of B, 8 of O]
  const apart = [batch / block, block, outputs / block, outH * outW, block];
  const split = graph.node('Reshape', [intoBlocks(graph, dy.name), graph.int64s(apart)]);
  const ordered = graph.node('Transpose', [split], { perm: [2, 0, 3, 1, 4] });
  const filter = graph.node('Reshape', [ordered, graph.int64s([outputs, batch, outH, outW])]);
  const y = blocked(graph, 'Conv', [intoBlocks(graph, padded), filter], {
    strides: window.dilation,
    pads: [0, 0, 0, 0],
    dilations: window.stride,
    group: 1,
    kernel_shape: [outH, outW],
  });
  const result = outOfBlocks(graph, y, outputs);
  return graph.node('Transpose', [result], { perm: [1, 0, 2, 3] });
}

/** x as [I, B, H, W] with its padding, and exactly as far as the last window reaches. */
function padToFit(
  graph: ModelBuilder,
  x: Operand,
  { padding, stride, dilation }: Window,
  { kernel, image }: { readonly kernel: Shape; readonly image: Shape },
): ValueName {
  const swapped = graph.node('Transpose', [x.name], { perm: [1, 0, 2, 3] });
  const before = [padding[0] ?? 0, padding[1] ?? 0];
  // Negative where the stride leaves rows over: Pad then cuts.
  const after = [0, 1].map((axis) => {
    const reach =
      ((image[axis] ?? 1) - 1) * (stride[axis] ?? 1) +
      ((kernel[axis] ?? 1) - 1) * (dilation[axis] ?? 1) +
      1;
    return reach - (before[axis] ?? 0) - (x.type.shape[axis + 2] ?? 1);
  });
  const pads = [0, 0, ...before, 0, 0, ...after];
  if (pads.every((extent) => extent === 0)) return swapped;
  return graph.node('Pad', [swapped, graph.int64s(pads)]);
}
