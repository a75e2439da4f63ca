/** @file ONNX emission of the matrix product, with or without a bias. */
import type { OpParams, TensorType } from '@ravenlab/protocol';
import { sizeOf } from '@ravenlab/protocol';
import type { Emit } from './emitRow.js';
import { operand } from './emitRow.js';
import type { ModelBuilder, Operand, ValueName } from './modelBuilder.js';
import { MICROSOFT_DOMAIN } from './modelBuilder.js';
import { reshaped } from './emitLayout.js';
import { isBetterSwapped, safeThreads } from './threadCut.js';

export interface MatMulSite {
  readonly graph: ModelBuilder;
  readonly a: Operand;
  readonly b: Operand;
  readonly params: OpParams['matMul'];
  readonly type: TensorType;
  /** Added to every row; as many elements as the result has columns. */
  readonly bias?: Operand;
}

export const emitMatMul: Emit<'matMul'> = (inputs, { graph, params, type }) =>
  emitProduct({ graph, params, type, a: operand(inputs, 0), b: operand(inputs, 1) });

/** True when the product is one matrix times one matrix, so that Gemm (and its bias) can do it. */
export function isPlainProduct(
  a: TensorType,
  b: TensorType,
  { transposeA }: OpParams['matMul'],
): boolean {
  if (b.shape.length !== 2) return false;
  return a.shape.length === 2 || !transposeA;
}

/**
 * `a · b (+ bias)`. A stack of matrices times one matrix is one tall product: its rows are flattened, which moves
 * no memory and gives the kernel all the work at once.
 */
export function emitProduct(site: MatMulSite): ValueName {
  const { graph, a, b, params, type, bias } = site;
  if (!isPlainProduct(a.type, b.type, params)) return stackedProduct(site);
  const columns = type.shape[type.shape.length - 1] ?? 1;
  const rows = sizeOf(type.shape) / columns;
  const depth = sizeOf(b.type.shape) / columns;
  const left =
    a.type.shape.length === 2 ? a.name : reshaped(graph, a, [rows, sizeOf(a.type.shape) / rows]);
  const flatType = { dtype: 'float32', shape: [rows, columns] } as const;
  if (isBetterSwapped({ rows, depth, columns })) {
    graph.limitThreads(safeThreads({ rows: columns, depth, columns: rows }));
    const product = swappedProduct(graph, [left, b.name], params, 2);
    const biased =
      bias === undefined
        ? product
        : graph.node('Add', [product, reshaped(graph, bias, [1, columns])]);
    return reshaped(graph, { name: biased, type: flatType }, type.shape);
  }
  graph.limitThreads(safeThreads({ rows, depth, columns }));
  const inputs = [left, b.name];
  if (bias !== undefined) inputs.push(reshaped(graph, bias, [columns]));
  const product = graph.node('Gemm', inputs, {
    transA: params.transposeA ? 1 : 0,
    transB: params.transposeB ? 1 : 0,
  });
  return reshaped(graph, { name: product, type: flatType }, type.shape);
}

function stackedProduct({ graph, a, b, params, type }: MatMulSite): ValueName {
  const rank = type.shape.length;
  const [rows = 1, columns = 1] = type.shape.slice(-2);
  const depth = a.type.shape[a.type.shape.length - (params.transposeA ? 2 : 1)] ?? 1;
  if (isBetterSwapped({ rows, depth, columns })) {
    graph.limitThreads(safeThreads({ rows: columns, depth, columns: rows }));
    return swappedProduct(graph, [a.name, b.name], params, rank);
  }
  graph.limitThreads(safeThreads({ rows, depth, columns }));
  return fusedProduct(graph, [a.name, b.name], params);
}

/** a · b as (bᵀ · aᵀ)ᵀ. A Gemm would be turned back by ONNX Runtime's optimizer. */
function swappedProduct(
  graph: ModelBuilder,
  [a = '', b = '']: readonly ValueName[],
  { transposeA, transposeB }: OpParams['matMul'],
  rank: number,
): ValueName {
  const product = fusedProduct(graph, [b, a], {
    transposeA: !transposeB,
    transposeB: !transposeA,
  });
  const perm = Array.from({ length: rank }, (_, axis) => axis);
  [perm[rank - 2], perm[rank - 1]] = [rank - 1, rank - 2];
  return graph.node('Transpose', [product], { perm });
}

function fusedProduct(
  graph: ModelBuilder,
  names: readonly ValueName[],
  { transposeA, transposeB }: OpParams['matMul'],
): ValueName {
  if (!transposeA && !transposeB) return graph.node('MatMul', names);
  const [product = ''] = graph.multi({
    op: 'FusedMatMul',
    inputs: names,
    attributes: {
      transA: transposeA ? 1 : 0,
      transB: transposeB ? 1 : 0,
      alpha: { float: 1 },
    },
    outputs: 1,
    domain: MICROSOFT_DOMAIN,
  });
  return product;
}
