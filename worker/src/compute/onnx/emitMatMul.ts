/** @file ONNX emission of the matrix product, with or without a bias. */
import type { OpParams, TensorType } from '@ravenlab/protocol';
import { sizeOf } from '@ravenlab/protocol';
import type { Emit } from './emitRow.js';
import { operand } from './emitRow.js';
import type { ModelBuilder, Operand, ValueName } from './modelBuilder.js';
import { MICROSOFT_DOMAIN } from './modelBuilder.js';
import { reshaped } from './emitLayout.js';

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
  const left =
    a.type.shape.length === 2 ? a.name : reshaped(graph, a, [rows, sizeOf(a.type.shape) / rows]);
  const inputs = [left, b.name];
  if (bias !== undefined) inputs.push(reshaped(graph, bias, [columns]));
  const product = graph.node('Gemm', inputs, {
    transA: params.transposeA ? 1 : 0,
    transB: params.transposeB ? 1 : 0,
  });
  const flat: Operand = { name: product, type: { dtype: 'float32', shape: [rows, columns] } };
  return reshaped(graph, flat, type.shape);
}

function stackedProduct({ graph, a, b, params }: MatMulSite): ValueName {
  const names = [a.name, b.name];
  if (!params.transposeA && !params.transposeB) return graph.node('MatMul', names);
  const [product = ''] = graph.multi({
    op: 'FusedMatMul',
    inputs: names,
    attributes: {
      transA: params.transposeA ? 1 : 0,
      transB: params.transposeB ? 1 : 0,
      alpha: { float: 1 },
    },
    outputs: 1,
    domain: MICROSOFT_DOMAIN,
  });
  return product;
}
