/** @file How a tensor looks in a notebook: shape, dtype and values, abridged where they are many. */
import type { TensorData } from '@ravenlab/protocol';
import { API_LIMITS, formatShape, sizeOf } from '@ravenlab/protocol';
import type { GraphNode } from '../core/graph/node.js';
import { emit } from './emit.js';
import { evaluateSync } from './evaluate.js';
import { escapeHtml } from './html.js';
import { narrow } from './lower/indexing.js';
import { currentRuntime } from './runtime.js';

const DIGITS = 4;

interface Preview {
  readonly data: TensorData;
  readonly shape: readonly number[];
  /** Whether axis i of the values has a gap in the middle. */
  readonly gaps: readonly boolean[];
}

/** Values of a small tensor; of a large one, the first and last few of every long axis. Blocks the cell. */
function preview(node: GraphNode): Preview {
  const { shape } = node.type;
  const keep = 2 * API_LIMITS.printEdge;
  const isLarge = sizeOf(shape) > API_LIMITS.printElements;
  const gaps = shape.map((extent) => isLarge && extent > keep);
  let edges = node;
  gaps.forEach((hasGap, axis) => {
    const extent = shape[axis] ?? 0;
    if (!hasGap) return;
    const first = narrow(edges, axis, 0, API_LIMITS.printEdge);
    const last = narrow(edges, axis, extent - API_LIMITS.printEdge, extent);
    edges = emit('concat', [first, last], { axis });
  });
  const [data] = evaluateSync([edges]);
  return { data: data ?? new Float32Array(), shape: edges.type.shape, gaps };
}

function formatter(node: GraphNode, data: TensorData): (value: number) => string {
  if (node.type.dtype === 'bool') return (value) => (value === 0 ? 'false' : 'true');
  if (node.type.dtype === 'int32' || data.every((value) => Number.isInteger(value))) {
    return (value) => String(value);
  }
  const sizes = Array.from(data, Math.abs).filter((size) => size > 0 && Number.isFinite(size));
  const largest = sizes.reduce((a, b) => Math.max(a, b), 0);
  const smallest = sizes.reduce((a, b) => Math.min(a, b), Infinity);
  const isWide = largest >= 1e5 || (sizes.length > 0 && largest < 1e-3) || largest / smallest > 1e6;
  return (value) => {
    if (!Number.isFinite(value)) return String(value).replace('Infinity', 'inf');
    return isWide ? value.toExponential(DIGITS) : value.toFixed(DIGITS);
  };
}

function layOut({ data, shape, gaps }: Preview, format: (value: number) => string): string {
  const cells = Array.from(data, format);
  const width = cells.reduce((widest, cell) => Math.max(widest, cell.length), 0);
  let offset = 0;
  const build = (axis: number): string => {
    if (axis === shape.length) return (cells[offset++] ?? '').padStart(width);
    const items = Array.from({ length: shape[axis] ?? 0 }, () => build(axis + 1));
    if (gaps[axis] === true) items.splice(API_LIMITS.printEdge, 0, '…');
    const isInner = axis === shape.length - 1;
    const breaks = '\n'.repeat(Math.max(1, shape.length - 1 - axis));
    return `[${items.join(isInner ? ', ' : `,${breaks}${' '.repeat(axis + 1)}`)}]`;
  };
  return build(0);
}

/** `Tensor float32 [2, 3]` and the values below; computes them. */
function tensorText(node: GraphNode): string {
  const values = preview(node);
  const text = layOut(values, formatter(node, values.data));
  return `Tensor ${node.type.dtype} ${formatShape(node.type.shape)}\n${text}`;
}

/** MIME bundle of a tensor. */
export function displayTensor(node: GraphNode): Record<string, string> {
  const text = tensorText(node);
  const [head = '', ...values] = text.split('\n');
  const html =
    `<div style="font-size:var(--jp-code-font-size,13px);line-height:1.5"><span style="opacity:.65">${escapeHtml(head)}</span>` +
    `<pre style="margin:.2em 0 0;background:none">${escapeHtml(values.join('\n'))}</pre></div>`;
  return { 'text/html': html, 'text/plain': text };
}

export function printTensor(node: GraphNode, label?: string): void {
  const prefix = label === undefined ? '' : `${label}: `;
  currentRuntime().session.write('stdout', `${prefix}${tensorText(node)}\n`);
}
