/** @file Slicing and reshaping as a user writes them, resolved to the exact parameters of the ops. */
import { formatShape, normalizeAxis, ShapeError, sizeOf } from '@ravenlab/protocol';
import type { GraphNode } from '../../core/graph/node.js';
import { castTo, emit, reshape, transpose } from '../emit.js';

/** One axis of `x.at([...])`: an index (drops the axis), `'begin:end:step'` with any part left out, or `[begin, end]`. */
export type Index = number | string | readonly [number, number];

interface Range {
  readonly begin: number;
  readonly end: number;
  readonly step: number;
  readonly reversed: boolean;
  readonly drop: boolean;
}

const RANGE = /^(-?\d*)(?::(-?\d*))(?::(-?\d*))?$/;

function bound(text: string | undefined, fallback: number, extent: number): number {
  if (text === undefined || text === '') return fallback;
  const value = Number(text);
  return Math.max(0, Math.min(extent, value < 0 ? value + extent : value));
}

function indexError(x: GraphNode, axis: number, what: string): ShapeError {
  return new ShapeError(
    `at: ${what} on axis ${String(axis)} of a tensor of shape ${formatShape(x.type.shape)}; ` +
      `expected an index, 'begin:end:step' or [begin, end], like x.at([0, '1:3', ':'])`,
    { axis, shape: x.type.shape },
  );
}

function parseText(x: GraphNode, axis: number, text: string, extent: number): Range {
  const match = RANGE.exec(text.trim());
  if (match === null) throw indexError(x, axis, `cannot read '${text}'`);
  const step = match[3] === undefined || match[3] === '' ? 1 : Number(match[3]);
  if (step === 0) throw indexError(x, axis, `step 0 in '${text}'`);
  if (step > 0) {
    const begin = bound(match[1], 0, extent);
    const end = Math.max(begin, bound(match[2], extent, extent));
    return { begin, end, step, reversed: false, drop: false };
  }
  // A negative step walks the reversed axis: element i there is element extent - 1 - i here.
  const begin = extent - 1 - Math.min(extent - 1, bound(match[1], extent - 1, extent));
  const stop = match[2] === undefined || match[2] === '' ? -1 : bound(match[2], -1, extent);
  return {
    begin,
    end: Math.max(begin, extent - 1 - stop),
    step: -step,
    reversed: true,
    drop: false,
  };
}

function parseIndex(x: GraphNode, axis: number, index: Index, extent: number): Range {
  if (typeof index === 'string') return parseText(x, axis, index, extent);
  if (typeof index !== 'number') {
    return parseText(x, axis, `${String(index[0])}:${String(index[1])}`, extent);
  }
  const begin = index < 0 ? index + extent : index;
  if (!Number.isInteger(index) || begin < 0 || begin >= extent) {
    throw indexError(x, axis, `index ${String(index)} is outside 0 … ${String(extent - 1)}`);
  }
  return { begin, end: begin + 1, step: 1, reversed: false, drop: true };
}

/** NumPy basic slicing; axes that are not mentioned stay whole. */
export function at(x: GraphNode, indices: readonly Index[]): GraphNode {
  const { shape } = x.type;
  if (indices.length > shape.length) {
    throw new ShapeError(
      `at: ${String(indices.length)} indices for a tensor of rank ${String(shape.length)} ${formatShape(shape)}`,
      { shape },
    );
  }
  const ranges = shape.map((extent, axis): Range => {
    const index = indices[axis];
    return index === undefined
      ? { begin: 0, end: extent, step: 1, reversed: false, drop: false }
      : parseIndex(x, axis, index, extent);
  });
  const axes = ranges.flatMap((range, axis) => (range.reversed ? [axis] : []));
  const turned = axes.length === 0 ? x : emit('reverse', [x], { axes });
  const whole = ranges.every((r, i) => r.begin === 0 && r.end === shape[i] && r.step === 1);
  const cut = whole
    ? turned
    : emit('slice', [turned], {
        begin: ranges.map((r) => r.begin),
        end: ranges.map((r) => r.end),
        step: ranges.map((r) => r.step),
      });
  if (!ranges.some((range) => range.drop)) return cut;
  return reshape(
    cut,
    cut.type.shape.filter((_, axis) => ranges[axis]?.drop !== true),
  );
}

/** Elements `begin … end` of one axis. */
export function narrow(x: GraphNode, axis: number, begin: number, end: number): GraphNode {
  const { shape } = x.type;
  return emit('slice', [x], {
    begin: shape.map((_, i) => (i === axis ? begin : 0)),
    end: shape.map((extent, i) => (i === axis ? end : extent)),
    step: shape.map(() => 1),
  });
}

/** A number cuts pieces of that size (the last may be smaller); a list gives the sizes. */
export function split(x: GraphNode, sizes: number | readonly number[], axis: number): GraphNode[] {
  const along = normalizeAxis('split', axis, x.type.shape.length);
  const extent = x.type.shape[along] ?? 0;
  const list = typeof sizes === 'number' ? pieces(extent, sizes) : sizes;
  const total = list.reduce((sum, size) => sum + size, 0);
  if (total !== extent || list.some((size) => !Number.isInteger(size) || size < 0)) {
    throw new ShapeError(
      `split: sizes [${list.join(', ')}] add up to ${String(total)}, axis ${String(along)} of ${formatShape(x.type.shape)} has ${String(extent)}`,
      { shape: x.type.shape },
    );
  }
  let begin = 0;
  return list.map((size) => {
    const piece = narrow(x, along, begin, begin + size);
    begin += size;
    return piece;
  });
}

function pieces(extent: number, size: number): number[] {
  if (!Number.isInteger(size) || size < 1) {
    throw new ShapeError(`split: size must be a positive integer, got ${String(size)}`);
  }
  const list: number[] = [];
  for (let begin = 0; begin < extent; begin += size) list.push(Math.min(size, extent - begin));
  return list;
}

/** At most one extent may be -1: it is what is left. */
export function reshapeTo(x: GraphNode, shape: readonly number[]): GraphNode {
  const unknown = shape.indexOf(-1);
  if (unknown === -1) return reshape(x, shape);
  const known = shape.reduce((size, extent, axis) => (axis === unknown ? size : size * extent), 1);
  const size = sizeOf(x.type.shape);
  if (known === 0 || size % known !== 0 || shape.includes(-1, unknown + 1)) {
    throw new ShapeError(
      `reshape: ${formatShape(x.type.shape)} has ${String(size)} elements, which do not fill ${formatShape(shape)}; ` +
        'one extent at most may be -1, and the others must divide the size',
      { from: x.type.shape, to: shape },
    );
  }
  return reshape(
    x,
    shape.map((extent, axis) => (axis === unknown ? size / known : extent)),
  );
}

export function flatten(x: GraphNode, from: number, to: number): GraphNode {
  const { shape } = x.type;
  if (shape.length === 0) return reshape(x, [1]);
  const first = normalizeAxis('flatten', from, shape.length);
  const last = normalizeAxis('flatten', to, shape.length);
  if (last < first) {
    throw new ShapeError(`flatten: axis ${String(to)} is before axis ${String(from)}`, { shape });
  }
  const merged = sizeOf(shape.slice(first, last + 1));
  return reshape(x, [...shape.slice(0, first), merged, ...shape.slice(last + 1)]);
}

export function squeeze(x: GraphNode, axis: number | undefined): GraphNode {
  const { shape } = x.type;
  if (axis === undefined) {
    return reshape(
      x,
      shape.filter((extent) => extent !== 1),
    );
  }
  const along = normalizeAxis('squeeze', axis, shape.length);
  if (shape[along] !== 1) {
    throw new ShapeError(
      `squeeze: axis ${String(axis)} of ${formatShape(shape)} has ${String(shape[along])} elements, only axes of extent 1 can go`,
      { shape },
    );
  }
  return reshape(
    x,
    shape.filter((_, i) => i !== along),
  );
}

export function expandDims(x: GraphNode, axis: number): GraphNode {
  const { shape } = x.type;
  const along = normalizeAxis('expandDims', axis, shape.length + 1);
  return reshape(x, [...shape.slice(0, along), 1, ...shape.slice(along)]);
}

export function swapAxes(x: GraphNode, a: number, b: number): GraphNode {
  const rank = x.type.shape.length;
  const first = normalizeAxis('transpose', a, rank);
  const second = normalizeAxis('transpose', b, rank);
  const perm = x.type.shape.map((_, axis) =>
    axis === first ? second : axis === second ? first : axis,
  );
  return transpose(x, perm);
}

export function stack(nodes: readonly GraphNode[], axis: number): GraphNode {
  const first = nodes[0];
  if (first === undefined) throw new ShapeError('stack: needs at least one tensor, got none');
  const along = normalizeAxis('stack', axis, first.type.shape.length + 1);
  return emit(
    'concat',
    nodes.map((node) => expandDims(node, along)),
    { axis: along },
  );
}

export function concat(nodes: readonly GraphNode[], axis: number): GraphNode {
  const first = nodes[0];
  if (first === undefined) throw new ShapeError('concat: needs at least one tensor, got none');
  return emit('concat', nodes, { axis: normalizeAxis('concat', axis, first.type.shape.length) });
}

/** Lower (`keepLower`) or upper triangle of the last two axes; the rest becomes 0. */
export function triangle(x: GraphNode, keepLower: boolean, diagonal: number): GraphNode {
  const { shape } = x.type;
  const rank = shape.length;
  if (rank < 2) {
    throw new ShapeError(`tril/triu: needs rank ≥ 2, got ${formatShape(shape)}`, { shape });
  }
  const matrix = shape.slice(-2);
  const row = emit('iota', [], { shape: matrix, axis: 0 });
  const column = emit('iota', [], { shape: matrix, axis: 1 });
  const shift = emit('full', [], { shape: [], dtype: 'int32', value: diagonal });
  const edge = emit('add', [row, shift], {});
  const kept = emit(keepLower ? 'lessEqual' : 'greaterEqual', [column, edge], {});
  return emit('mul', [x, castTo(kept, x.type.dtype)], {});
}
