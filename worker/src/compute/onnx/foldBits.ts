/**
 * @file Where ONNX Runtime's kernels give a row the same bits however many rows there are: what may run on the rows of
 * several units at once. Measured on 1.30; test/conformance/groups.test.ts holds it to that.
 */
import type { OpName, Program } from '@ravenlab/protocol';
import { sizeOf } from '@ravenlab/protocol';
import type { Fold, FoldSite } from '../group/foldRow.js';
import { shapeAt, widened } from '../group/foldRow.js';
import type { FoldRules } from '../group/groupProgram.js';
import { CHANNEL_BLOCKS, isBetterBlocked } from './emitBlocked.js';
import { isPlainProduct } from './emitMatMul.js';
import { countUses, findBiasFusions } from './fusion.js';
import { isBetterSwapped } from './threadCut.js';

type Rule<N extends OpName> = (site: FoldSite<N>, fold: Fold) => boolean;

const always = (): boolean => true;

/** Vectors of the widest instruction set hold this many numbers. */
const VECTOR = 16;

/** What is left over behind the last whole vector takes a scalar path with other bits. */
const inWholeVectors: Rule<OpName> = ({ type }) => sizeOf(type.shape) % VECTOR === 0;

/**
 * Sums begin at the first whole vector in memory, so every unit must begin where it would alone: at a multiple of one. And
 * sums of one row have a path of their own.
 */
const alignedRows: Rule<OpName> = ({ types: [type], lies: [axis] }) => {
  if (type === undefined || typeof axis !== 'number') return false;
  return (type.shape[axis] ?? 1) > 1 && sizeOf(type.shape.slice(axis)) % VECTOR === 0;
};

/**
 * A convolution of one image is cut among threads, of several it is not. And all images together may be worth the kernel for
 * channels in blocks, where those of a unit are not; it adds in another order.
 */
function convolution(turned: boolean): Rule<'conv2d' | 'conv2dGradInput'> {
  return (site) => {
    const [images = 0] = shapeAt(site, 0);
    const [outputs = 0, inputs = 0, ...kernel] = shapeAt(site, 1);
    const weight = turned ? [inputs, outputs, ...kernel] : [outputs, inputs, ...kernel];
    const { groups } = site.params;
    const all = widened(site.type.shape, 0, site.units);
    const isAlike = CHANNEL_BLOCKS.every((channelBlock) => {
      const [alone, together] = [site.type.shape, all].map((result) =>
        isBetterBlocked(channelBlock, groups, weight, result),
      );
      return alone === together;
    });
    return images > 1 && isAlike;
  };
}

const ofSeveralImages: Rule<OpName> = (site) => (shapeAt(site, 0)[0] ?? 1) > 1;

const product: Rule<'matMul'> = ({ types: [a, b], params, type, units }) => {
  if (a === undefined || b === undefined) return false;
  const columns = type.shape.at(-1) ?? 1;
  const depth = a.shape[a.shape.length - (params.transposeA ? 2 : 1)] ?? 1;
  if (!isPlainProduct(a, b, params)) {
    const rows = type.shape.at(-2) ?? 1;
    return rows > 1 && columns > 1;
  }
  const rows = sizeOf(type.shape) / columns;
  // Made as its transpose, the rows are columns, whose number decides how sums are cut.
  const isSwapped =
    isBetterSwapped({ rows, depth, columns }) ||
    isBetterSwapped({ rows: rows * units, depth, columns });
  return rows > 1 && columns > 1 && !isSwapped;
};

const BITS: { readonly [N in OpName]?: Rule<N> } = {
  log: inWholeVectors,
  sin: inWholeVectors,
  cos: inWholeVectors,
  pow: inWholeVectors,
  matMul: product,
  conv2d: convolution(false),
  conv2dGradInput: convolution(true),
  avgPool2dGrad: ofSeveralImages,
  sum: alignedRows,
  mean: alignedRows,
  variance: alignedRows,
  normalize: alignedRows,
  normalizeGrad: alignedRows,
};

/** Kernels that ONNX Runtime may join with an addition or a scaling behind them. */
const OPEN: ReadonlySet<OpName> = new Set<OpName>([
  'matMul',
  'conv2d',
  'conv2dGradInput',
  'conv2dGradWeight',
]);

export const ONNX_FOLD_RULES: FoldRules = {
  keepsBits(op, site, fold) {
    const rule = (BITS[op] ?? always) as Rule<OpName>;
    return rule(site, fold);
  },
  pairs(program: Program) {
    const { byAdd } = findBiasFusions(program, countUses(program));
    const ids = new Map(program.nodes.map((node, index) => [node, program.inputs.length + index]));
    const pairs = new Map<number, number>();
    for (const [add, { linearNode }] of byAdd) pairs.set(add, ids.get(linearNode) ?? -1);
    return pairs;
  },
  isOpen: (op) => OPEN.has(op),
};
