/** @file Fold rows of matrix products, convolutions, pooling and reductions. */
import type { OpParams } from '@ravenlab/protocol';
import type { FoldRow, FoldRows, FoldSite } from './foldRow.js';
import { keeps, shapeAt } from './foldRow.js';

type LinearOp =
  | 'matMul'
  | 'conv2d'
  | 'conv2dGradInput'
  | 'conv2dGradWeight'
  | 'maxPool2d'
  | 'maxPool2dGrad'
  | 'avgPool2d'
  | 'avgPool2dGrad'
  | 'sum'
  | 'mean'
  | 'variance'
  | 'reduceMax'
  | 'reduceMin'
  | 'argMax'
  | 'cumsum'
  | 'softmax'
  | 'logSoftmax'
  | 'normalize'
  | 'normalizeGrad';

/** Rows of many units times one matrix, or stacks of products of which each unit has its own. */
const matMul: FoldRow<'matMul'> = (site) => {
  const [a, b] = site.lies;
  const rankA = shapeAt(site, 0).length;
  const rankB = shapeAt(site, 1).length;
  const rows = site.params.transposeA ? rankA - 1 : rankA - 2;
  if (typeof a !== 'number') return null;
  const isRow = a === rows || (a < rankA - 2 && rankB === 2 && !site.params.transposeA);
  if (b === 'shared' && rankB === 2 && isRow) {
    return { operands: [a, b], axis: a === rows ? site.type.shape.length - 2 : a };
  }
  const isStack = rankA === rankB && a === b && a < rankA - 2;
  const isWhole = shapeAt(site, 0)[a] === shapeAt(site, 1)[a];
  return isStack && isWhole ? { operands: [a, a], axis: a } : null;
};

/** Image by image; the weight is the same for all. */
const perImage: FoldRow<'conv2d' | 'conv2dGradInput'> = ({ lies: [x, w] }) =>
  x === 0 && w === 'shared' ? { operands: [0, 'shared'], axis: 0 } : null;

const pool: FoldRow<'maxPool2d' | 'avgPool2d' | 'avgPool2dGrad'> = ({ lies: [x] }) =>
  x === 0 ? { operands: [0], axis: 0 } : null;

/** Reductions: of rows, never over them. */
const reduction: FoldRow<'sum' | 'mean' | 'variance' | 'reduceMax' | 'reduceMin'> = ({
  lies: [axis],
  params: { axes, keepDims },
}) => {
  if (typeof axis !== 'number' || axes.includes(axis)) return null;
  const dropped = keepDims ? 0 : axes.filter((reduced) => reduced < axis).length;
  return { operands: [axis], axis: axis - dropped };
};

const along = (site: FoldSite<'softmax' | 'logSoftmax' | 'cumsum'>, axis: number): boolean =>
  site.params.axis === axis;

const over = ({ params }: { readonly params: OpParams['normalize'] }, axis: number): boolean =>
  params.axes.includes(axis);

export const FOLD_LINEAR: FoldRows<LinearOp> = {
  matMul,
  conv2d: perImage,
  conv2dGradInput: perImage,
  // A sum over the images of a unit.
  conv2dGradWeight: () => null,
  maxPool2d: pool,
  maxPool2dGrad: ({ lies: [x, dy] }) =>
    x === 0 && dy === 0 ? { operands: [0, 0], axis: 0 } : null,
  avgPool2d: pool,
  avgPool2dGrad: pool,
  sum: reduction,
  mean: reduction,
  variance: reduction,
  reduceMax: reduction,
  reduceMin: reduction,
  argMax: ({ lies: [axis], params }) => {
    if (typeof axis !== 'number' || axis === params.axis) return null;
    return { operands: [axis], axis: axis > params.axis ? axis - 1 : axis };
  },
  cumsum: keeps(along),
  softmax: keeps(along),
  logSoftmax: keeps(along),
  normalize: keeps(over),
  normalizeGrad: ({ lies: [x, dy], params }) =>
    typeof x === 'number' && x === dy && !over({ params }, x)
      ? { operands: [x, x], axis: x }
      : null,
};
