/** @file Fold rows of ops that move, repeat or select elements. */
import { sizeOf } from '@ravenlab/protocol';
import type { FoldRow, FoldRows } from './foldRow.js';
import { keeps, shapeAt, widened } from './foldRow.js';

type LayoutOp =
  | 'reshape'
  | 'transpose'
  | 'broadcastTo'
  | 'concat'
  | 'slice'
  | 'pad'
  | 'tile'
  | 'reverse'
  | 'gather'
  | 'scatterAdd'
  | 'oneHot';

/**
 * Row-major order is kept, so with as many elements before the new axis as before the old one, each unit's elements stay
 * together. Of several such axes, the one of the same extent, or else the last: extents of 1 come first.
 */
const reshape: FoldRow<'reshape'> = (site) => {
  const [axis] = site.lies;
  const { shape } = site.params;
  if (typeof axis !== 'number') return null;
  const from = shapeAt(site, 0);
  const before = sizeOf(from.slice(0, axis));
  const candidates = shape.map((_, to) => to).filter((to) => sizeOf(shape.slice(0, to)) === before);
  const same = candidates.find((to) => shape[to] === from[axis]);
  const target = same ?? candidates.at(-1);
  if (target === undefined) return null;
  return {
    operands: [axis],
    axis: target,
    params: { shape: widened(shape, target, site.units) },
  };
};

const broadcastTo: FoldRow<'broadcastTo'> = (site) => {
  const [axis] = site.lies;
  const { shape } = site.params;
  const from = shapeAt(site, 0);
  if (typeof axis !== 'number') return null;
  const target = axis + shape.length - from.length;
  if (from[axis] !== shape[target]) return null;
  return {
    operands: [axis],
    axis: target,
    params: { shape: widened(shape, target, site.units) },
  };
};

const concat: FoldRow<'concat'> = ({ lies, params }) => {
  const axis = lies.find((lie) => typeof lie === 'number');
  const isAlike = lies.every((lie) => lie === axis || lie === 'shared');
  if (axis === undefined || axis === params.axis || !isAlike) return null;
  return { operands: lies.map(() => axis), axis };
};

const slice: FoldRow<'slice'> = (site) => {
  const [axis] = site.lies;
  if (typeof axis !== 'number') return null;
  const { begin, end, step } = site.params;
  const isWhole =
    begin[axis] === 0 && end[axis] === shapeAt(site, 0)[axis] && (step[axis] ?? 1) === 1;
  if (!isWhole) return null;
  const params = { begin, end: widened(end, axis, site.units), step };
  return { operands: [axis], axis, params };
};

/** `[..., N, ...]` picked by indices: their axes stand where N was. The table must be the same for all. */
const gather: FoldRow<'gather'> = ({ lies: [x, own], params }) =>
  x === 'shared' && typeof own === 'number'
    ? { operands: ['shared', own], axis: params.axis + own }
    : null;

export const FOLD_LAYOUT: FoldRows<LayoutOp> = {
  reshape,
  transpose: ({ lies: [axis], params }) =>
    typeof axis === 'number' ? { operands: [axis], axis: params.perm.indexOf(axis) } : null,
  broadcastTo,
  concat,
  slice,
  pad: keeps(({ params }, axis) => params.before[axis] !== 0 || params.after[axis] !== 0),
  tile: keeps(({ params }, axis) => params.repeats[axis] !== 1),
  reverse: keeps(({ params }, axis) => params.axes.includes(axis)),
  gather,
  // Rows of all units would meet in one table.
  scatterAdd: () => null,
  oneHot: keeps(() => false),
};
