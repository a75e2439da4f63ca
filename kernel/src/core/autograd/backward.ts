/** @file Reverse mode: graph → graph. One sweep over the reversed post-order; it computes nothing. */
import type { OpName } from '@ravenlab/protocol';
import { AutogradError, formatShape, sameShape, sizeOf } from '@ravenlab/protocol';
import { GraphBuilder } from '../graph/build.js';
import type { GraphNode, OpNode } from '../graph/node.js';
import { describeNode, postOrder } from '../graph/node.js';
import { accumulate } from './accumulate.js';
import type { InputGrad } from './gradRule.js';
import { GRAD_RULES } from './gradRules.js';

/**
 * dL/dw for every `w` of `wrt`, each of the shape of its `w`; null where `loss` does not depend on it (a dynamic graph
 * may leave parameters out of a step). The order in which contributions are added depends on structure only.
 * @param seed dL/dloss; needed unless loss has one element, where it is 1.
 * @throws AutogradError when loss or a `w` is not float32, the loss has several elements and no seed, or an op on the
 * way has no second derivative.
 */
export function backward(
  loss: GraphNode,
  wrt: readonly GraphNode[],
  seed?: GraphNode,
): (GraphNode | null)[] {
  wrt.forEach((node, index) => {
    if (node.type.dtype !== 'float32') {
      throw new AutogradError(
        `backward: input ${String(index)} is ${describeNode(node)}; only float32 tensors have gradients`,
      );
    }
  });
  const order = postOrder([loss]);
  const active = activeNodes(order, new Set(wrt));
  const pending = new Map<GraphNode, GraphNode[]>([[loss, [seedOf(loss, seed)]]]);
  const gradients = new Map<GraphNode, GraphNode>();
  for (let position = order.length - 1; position >= 0; position--) {
    const node = order[position];
    const contributions = node === undefined ? undefined : pending.get(node);
    if (node === undefined || contributions === undefined || !active.has(node)) continue;
    const g = new GraphBuilder(node.origin);
    const dy = accumulate(g, contributions);
    pending.delete(node);
    gradients.set(node, dy);
    if (node.kind === 'op') propagate(g, dy, node, active, pending);
  }
  return wrt.map((node) => gradients.get(node) ?? null);
}

function seedOf(loss: GraphNode, seed: GraphNode | undefined): GraphNode {
  const { dtype, shape } = loss.type;
  if (dtype !== 'float32') {
    throw new AutogradError(
      `backward: the loss is ${describeNode(loss)}; only float32 has gradients`,
    );
  }
  if (seed === undefined) {
    if (sizeOf(shape) === 1) return new GraphBuilder(loss.origin).full(shape, 1);
    throw new AutogradError(
      `backward: the loss has shape ${formatShape(shape)}, expected one element; reduce it with mean() or sum(), ` +
        'or give the gradient of each element',
      { shape },
    );
  }
  if (seed.type.dtype !== 'float32' || !sameShape(seed.type.shape, shape)) {
    throw new AutogradError(
      `backward: the gradient given is ${describeNode(seed)}, expected float32 ${formatShape(shape)} like the loss`,
    );
  }
  return seed;
}

/** Nodes on a differentiable path from a `wrt` node to the loss; all others cost nothing. */
function activeNodes(
  order: readonly GraphNode[],
  wrt: ReadonlySet<GraphNode>,
): ReadonlySet<GraphNode> {
  const active = new Set<GraphNode>();
  for (const node of order) {
    if (wrt.has(node)) active.add(node);
    else if (node.kind === 'op' && node.type.dtype === 'float32' && hasActiveInput(node, active)) {
      active.add(node);
    }
  }
  return active;
}

function hasActiveInput(node: OpNode, active: ReadonlySet<GraphNode>): boolean {
  return node.inputs.some(
    (input, index) => active.has(input) && inputGrad(node.op, index) !== null,
  );
}

function inputGrad(op: OpName, index: number): InputGrad<OpName> | null {
  const rule = GRAD_RULES[op];
  // The row belongs to this op by construction of the table; TypeScript cannot follow the correlation.
  return (rule[Math.min(index, rule.length - 1)] ?? null) as InputGrad<OpName> | null;
}

function propagate(
  g: GraphBuilder,
  dy: GraphNode,
  node: OpNode,
  active: ReadonlySet<GraphNode>,
  pending: Map<GraphNode, GraphNode[]>,
): void {
  node.inputs.forEach((input, index) => {
    if (!active.has(input)) return;
    const rule = inputGrad(node.op, index);
    if (rule === null) return;
    // Broadcasting repeated the input; its gradient is the sum over the repeats.
    const gradient = g.sumTo(rule(g, dy, node, index), input.type.shape);
    const list = pending.get(input);
    if (list === undefined) pending.set(input, [gradient]);
    else list.push(gradient);
  });
}
