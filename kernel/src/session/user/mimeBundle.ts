/** @file A JavaScript value as a MIME bundle: what a cell shows for its last expression. */

import { inspect } from 'node:util';
import type { Bundle, DisplayBundle } from '../threadMessages.js';

/** Objects with this method describe themselves, as in other JavaScript kernels. */
const JUPYTER_DISPLAY = Symbol.for('Jupyter.display');

/** Methods by which an object offers a representation, and what they return. */
const REPRESENTATIONS: readonly (readonly [method: string, mime: string])[] = [
  ['toHtml', 'text/html'],
  ['toHTML', 'text/html'],
  ['_toHtml', 'text/html'],
  ['toSvg', 'image/svg+xml'],
  ['toSVG', 'image/svg+xml'],
  ['_toSvg', 'image/svg+xml'],
  ['toMarkdown', 'text/markdown'],
  ['toLatex', 'text/latex'],
  ['toPng', 'image/png'],
  ['_toPng', 'image/png'],
  ['toJpeg', 'image/jpeg'],
  ['_toJpeg', 'image/jpeg'],
];

const MIME_TYPE = /^[\w\-+.]+\/[\w\-+.]+$/;

/**
 * Describes a value; `text/plain` is always there. A promise only if a representation is one.
 * Throws what the value's own methods throw.
 */
export function describeValue(value: unknown): DisplayBundle | Promise<DisplayBundle> {
  const finish = (rich: Bundle): DisplayBundle => ({
    data: { 'text/plain': plainText(value), ...rich },
    metadata: {},
  });
  const rich = richBundle(value);
  return rich instanceof Promise ? rich.then(finish) : finish(rich);
}

/** The `text/plain` form, without colours. */
function plainText(value: unknown): string {
  return inspect(value, { colors: false, depth: 4, maxArrayLength: 100, breakLength: 100 });
}

/** Checks and encodes a bundle that user code made: bytes become base64. */
export function toBundle(data: unknown): Bundle {
  if (typeof data !== 'object' || data === null) {
    throw new TypeError(
      `a display bundle maps MIME types to data, e.g. { 'text/html': '<b>hi</b>' }; found ${inspect(data)}`,
    );
  }
  const bundle: Bundle = {};
  for (const [mime, content] of Object.entries(data as Bundle)) {
    if (!MIME_TYPE.test(mime)) {
      throw new TypeError(`'${mime}' is not a MIME type; expected one like 'text/html'`);
    }
    if (content !== undefined) bundle[mime] = encode(mime, content);
  }
  return bundle;
}

function richBundle(value: unknown): Bundle | Promise<Bundle> {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return {};
  const members = value as Record<string | symbol, unknown>;
  const display = members[JUPYTER_DISPLAY];
  if (typeof display === 'function') {
    const data: unknown = display.call(value);
    return data instanceof Promise ? data.then(toBundle) : toBundle(data);
  }
  const contents = new Map<string, unknown>();
  for (const [method, mime] of REPRESENTATIONS) {
    const represent = members[method];
    if (typeof represent !== 'function' || contents.has(mime)) continue;
    contents.set(mime, represent.call(value));
  }
  const isLate = [...contents.values()].some((content) => content instanceof Promise);
  return isLate ? settle(contents) : encodeAll(contents);
}

async function settle(contents: ReadonlyMap<string, unknown>): Promise<Bundle> {
  const settled = new Map<string, unknown>();
  for (const [mime, content] of contents) settled.set(mime, await content);
  return encodeAll(settled);
}

function encodeAll(contents: ReadonlyMap<string, unknown>): Bundle {
  return Object.fromEntries([...contents].map(([mime, content]) => [mime, encode(mime, content)]));
}

function encode(mime: string, content: unknown): unknown {
  if (content instanceof Uint8Array) return Buffer.from(content).toString('base64');
  // JSON types travel as JSON; everything else is text.
  if (mime.endsWith('json')) return JSON.parse(JSON.stringify(content)) as unknown;
  return typeof content === 'string' ? content : String(content);
}
