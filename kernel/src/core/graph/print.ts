/** @file Graphs and programs as text, one line a node, for errors, tests and people. */
import type { AnyParams, Program, TensorType } from '@ravenlab/protocol';
import { formatShape } from '@ravenlab/protocol';
import type { GraphNode, Leaf } from './node.js';
import { paramsOf, postOrder } from './node.js';

/**
 * The graph below `outputs`; nodes are numbered in the order of `postOrder`:
 * `%2 = matMul(%0, %1) transposeB=true : float32 [32, 10]`.
 */
export function printGraph(outputs: readonly GraphNode[]): string {
  const order = postOrder(outputs);
  const names = new Map(order.map((node, index) => [node, `%${String(index)}`]));
  const lines = order.map((node) => {
    const inputs = node.inputs.map((input) => names.get(input) ?? '?');
    return `${names.get(node) ?? '?'} = ${printNode(node, inputs)} : ${printType(node.type)}`;
  });
  lines.push(`return ${outputs.map((node) => names.get(node) ?? '?').join(', ')}`);
  return lines.join('\n');
}

/** A program in the same form; inputs are listed first. */
export function printProgram(program: Program): string {
  const base = program.inputs.length;
  const lines = program.inputs.map((type, id) => `%${String(id)} = input : ${printType(type)}`);
  program.nodes.forEach((node, index) => {
    const inputs = node.inputs.map((id) => `%${String(id)}`);
    const call = printCall(node.op, inputs, node.params);
    lines.push(`%${String(base + index)} = ${call} : ${printType(node.type)}`);
  });
  lines.push(`return ${program.outputs.map((id) => `%${String(id)}`).join(', ')}`);
  return lines.join('\n');
}

function printNode(node: GraphNode, inputs: readonly string[]): string {
  switch (node.kind) {
    case 'op':
      return printCall(node.op, inputs, paramsOf(node));
    case 'leaf':
      return `${node.leaf.kind} ${printLeaf(node.leaf)}`;
    case 'stop':
      return printCall('stop', inputs, {});
  }
}

function printType(type: TensorType): string {
  return `${type.dtype} ${formatShape(type.shape)}`;
}

function printCall(op: string, inputs: readonly string[], params: AnyParams): string {
  const fields = Object.entries(params).map(
    ([name, value]) => ` ${name}=${Array.isArray(value) ? `[${value.join(',')}]` : String(value)}`,
  );
  return `${op}(${inputs.join(', ')})${fields.join('')}`;
}

function printLeaf(leaf: Leaf): string {
  switch (leaf.kind) {
    case 'state':
      return `${String(leaf.stateId)}@${String(leaf.version)}`;
    case 'rows':
      return `of ${String(leaf.dataId)}${leaf.batched ? ' batched' : ''}`;
    case 'data':
      return String(leaf.dataId);
    case 'inline':
      return leaf.batchAxis < 0 ? 'value' : `batched along ${String(leaf.batchAxis)}`;
    case 'key':
      return `step ${String(leaf.step)}`;
  }
}
