/** @file Sizes of sliding windows (convolution, pooling): the one place with that arithmetic. */
import type { Shape } from '../shape.js';
import { fail, requireInts } from './row.js';

/** Window geometry in two dimensions; padding is [top, left, bottom, right]. */
export interface Window2d {
  readonly kernel: readonly number[];
  readonly stride: readonly number[];
  readonly padding: readonly number[];
  readonly dilation: readonly number[];
}

function pair(op: string, name: string, value: readonly number[], min: number): [number, number] {
  const [h, w] = value;
  if (value.length !== 2 || h === undefined || w === undefined) {
    fail(op, `${name} must be two integers ≥ ${String(min)}, got [${value.join(', ')}]`);
  }
  requireInts(op, name, value, min);
  return [h, w];
}

/**
 * Spatial output `[H', W']` of a window over `[H, W]`: floor((H + pads - dilation·(k-1) - 1) / stride) + 1.
 * @throws ShapeError when the window is larger than the padded input or a parameter is out of range.
 */
export function windowOutput(op: string, spatial: Shape, window: Window2d): [number, number] {
  const [kh, kw] = pair(op, 'kernel', window.kernel, 1);
  const [sh, sw] = pair(op, 'stride', window.stride, 1);
  const [dh, dw] = pair(op, 'dilation', window.dilation, 1);
  const [top, left, bottom, right] = window.padding;
  if (
    window.padding.length !== 4 ||
    top === undefined ||
    left === undefined ||
    bottom === undefined ||
    right === undefined
  ) {
    fail(op, `padding must be [top, left, bottom, right], got [${window.padding.join(', ')}]`);
  }
  requireInts(op, 'padding', window.padding);
  const [height = 0, width = 0] = spatial;
  const outH = Math.floor((height + top + bottom - dh * (kh - 1) - 1) / sh) + 1;
  const outW = Math.floor((width + left + right - dw * (kw - 1) - 1) / sw) + 1;
  if (outH < 1 || outW < 1) {
    fail(
      op,
      `a ${String(kh)}×${String(kw)} window (dilation ${String(dh)}×${String(dw)}) does not fit an input of ` +
        `${String(height)}×${String(width)} with padding [${window.padding.join(', ')}]; use a smaller kernel or more padding`,
    );
  }
  return [outH, outW];
}
