/** @file Tensors as pictures: one image, or a gallery with captions. */
import type { Shape } from '@ravenlab/protocol';
import { formatShape, ShapeError } from '@ravenlab/protocol';
import { escapeHtml } from '../html.js';
import type { Tensor } from '../tensor.js';
import { Figure } from './figure.js';
import type { Pixels } from './png.js';
import { pngUrl } from './png.js';
import { rangeOf } from './svg.js';

export interface ImageOptions {
  readonly title?: string;
  /** Width of one image on the page, pixels. */
  readonly size?: number;
  /** Values of black and white; those of the data when left out. */
  readonly range?: readonly [number, number];
}

export interface GalleryOptions extends ImageOptions {
  /** Below each image. */
  readonly labels?: ArrayLike<string | number>;
  /** Captions to mark, like wrong predictions. */
  readonly marked?: ArrayLike<boolean | number>;
}

/** Images of a page at most; a gallery of more says how many are left out. */
const MAX_IMAGES = 256;

interface Layout {
  readonly channels: 1 | 3;
  readonly height: number;
  readonly width: number;
}

/** `[H, W]`, `[1, H, W]` or `[3, H, W]`. */
function layoutOf(shape: Shape): Layout {
  const [channels, height, width] = shape.length === 2 ? [1, shape[0], shape[1]] : shape;
  if ((channels === 1 || channels === 3) && shape.length <= 3 && height && width) {
    return { channels, height, width };
  }
  throw new ShapeError(
    `plot: an image is [H, W], [1, H, W] or [3, H, W], got ${formatShape(shape)}; pick one with x.at([0])`,
    { shape },
  );
}

function pixelsOf(
  values: ArrayLike<number>,
  offset: number,
  { channels, height, width }: Layout,
  [black, white]: readonly [number, number],
): Pixels {
  const area = height * width;
  const data = new Uint8Array(area * channels);
  for (let pixel = 0; pixel < area; pixel++) {
    for (let channel = 0; channel < channels; channel++) {
      const value = values[offset + channel * area + pixel] ?? 0;
      data[pixel * channels + channel] = Math.max(
        0,
        Math.min(255, Math.round(((value - black) / (white - black)) * 255)),
      );
    }
  }
  return { width, height, channels, data };
}

function picture(pixels: Pixels, size: number, alt: string): string {
  return (
    `<img src="${pngUrl(pixels)}" width="${String(size)}" alt="${escapeHtml(alt)}" ` +
    'style="image-rendering:pixelated;border-radius:3px;display:block;max-width:none">'
  );
}

function heading(title: string | undefined): string {
  return title === undefined
    ? ''
    : `<div style="font-weight:600;margin-bottom:4px">${escapeHtml(title)}</div>`;
}

/** One picture of `[H, W]` or `[3, H, W]`. */
export function image(x: Tensor, options: ImageOptions = {}): Figure {
  const layout = layoutOf(x.shape);
  const values = x.dataSync();
  const { min, max } = rangeOf(values);
  const pixels = pixelsOf(values, 0, layout, options.range ?? [min, max]);
  const title = options.title ?? 'image';
  const html = heading(options.title) + picture(pixels, options.size ?? 160, title);
  return new Figure(html, `${title} ${formatShape(x.shape)}`);
}

/** A gallery of `[N, H, W]`, `[N, 1, H, W]` or `[N, 3, H, W]`. */
export function images(x: Tensor, options: GalleryOptions = {}): Figure {
  const [count = 0, ...shape] = x.shape;
  const layout = layoutOf(shape);
  const shown = Math.min(count, MAX_IMAGES);
  const values = x.dataSync();
  const stride = layout.channels * layout.height * layout.width;
  const { min, max } = rangeOf(values);
  const tiles = Array.from({ length: shown }, (_, i) => {
    const pixels = pixelsOf(values, i * stride, layout, options.range ?? [min, max]);
    const caption = options.labels?.[i];
    const text = caption === undefined ? '' : String(caption);
    const isMarked = Boolean(options.marked?.[i]);
    const colour = isMarked ? 'color:var(--jp-error-color1,#c62828);font-weight:600' : 'opacity:.8';
    const label =
      text === ''
        ? ''
        : `<figcaption style="text-align:center;font-size:11px;${colour}">${escapeHtml(text)}</figcaption>`;
    return `<figure style="margin:0">${picture(pixels, options.size ?? 44, text)}${label}</figure>`;
  });
  const rest = count > shown ? `<div>and ${String(count - shown)} more</div>` : '';
  const html = `${heading(options.title)}<div style="display:flex;flex-wrap:wrap;gap:6px">${tiles.join('')}</div>${rest}`;
  return new Figure(html, `${options.title ?? 'images'} ${formatShape(x.shape)}`);
}
