/** @file `loss.backward()`: finds the parameters a loss depends on and adds the gradient graphs to their `grad`. */
import { AutogradError, formatShape, sizeOf } from '@ravenlab/protocol';
import { backward as differentiate } from '../core/autograd/backward.js';
import { scaledBackward } from '../core/autograd/lossScaling.js';
import type { GraphNode, LeafNode } from '../core/graph/node.js';
import { add, originLine } from './emit.js';
import { isDifferentiable } from './gradMode.js';
import type { Runtime } from './runtime.js';
import { currentRuntime } from './runtime.js';
import type { Tensor } from './tensor.js';

/** Nodes that a backward pass went through: a second pass would count their gradients twice. */
const spent = new WeakSet<GraphNode>();

/**
 * @param wrap makes a tensor of a gradient node
 * @throws AutogradError when `loss` has several elements, depends on no parameter, or was differentiated before.
 */
export function backward(
  loss: Tensor,
  retainGraph: boolean,
  wrap: (node: GraphNode) => Tensor,
): void {
  const runtime = currentRuntime();
  runtime.steps.throwUnreported();
  const { node } = loss;
  requireScalar(node);
  const path = differentiablePath(runtime, node);
  if (path.leaves.length === 0) throw noParameters(node);
  const owners = path.leaves.map((leaf) => requireCurrent(runtime, leaf));
  if (!retainGraph) for (const member of path.nodes) spent.add(member);
  const gradients =
    runtime.compute === 'float16'
      ? scaledBackward(node, path.leaves, runtime.lossScaler.node)
      : differentiate(node, path.leaves);
  gradients.forEach((gradient, index) => {
    const owner = owners[index];
    if (gradient === null || owner === undefined) return;
    owner.grad = wrap(owner.grad === null ? gradient : add(owner.grad.node, gradient));
  });
  runtime.noteRoot(node);
}

function requireScalar(node: GraphNode): void {
  if (sizeOf(node.type.shape) === 1 && node.type.dtype === 'float32') return;
  throw new AutogradError(
    `backward: needs a float32 tensor of one element, got ${node.type.dtype} ${formatShape(node.type.shape)}; ` +
      'call it on loss.mean() or loss.sum()',
    { shape: node.type.shape, dtype: node.type.dtype },
  );
}

function noParameters(node: GraphNode): AutogradError {
  const line = originLine(node.origin);
  return new AutogradError(
    `backward: this tensor depends on no parameter${line === null ? '' : ` (made at ${line})`}; expected a loss computed from ` +
      "a module's parameters or from tensors made with { requiresGrad: true }, outside noGrad() and without detach()",
  );
}

interface Path {
  /** Leaves that gradients are wanted for. */
  readonly leaves: readonly LeafNode[];
  /** Ops between them and the loss. */
  readonly nodes: readonly GraphNode[];
}

/** Walks from the loss to trainable leaves. @throws AutogradError at an op that backward went through before. */
function differentiablePath(runtime: Runtime, loss: GraphNode): Path {
  const leaves: LeafNode[] = [];
  const nodes: GraphNode[] = [];
  const seen = new Set<GraphNode>([loss]);
  const stack = [loss];
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    if (node.kind === 'leaf') {
      if (runtime.trainable(node) !== null) leaves.push(node);
      continue;
    }
    if (node.kind === 'stop') continue;
    if (spent.has(node)) throw backwardTwice(node);
    if (isDifferentiable(node)) nodes.push(node);
    for (const input of node.inputs) {
      if (seen.has(input)) continue;
      seen.add(input);
      stack.push(input);
    }
  }
  return { leaves, nodes };
}

function backwardTwice(node: GraphNode): AutogradError {
  const line = originLine(node.origin);
  const op = node.kind === 'op' ? node.op : 'leaf';
  return new AutogradError(
    `backward: was already called through '${op}'${line === null ? '' : ` at ${line}`}; its gradients would count twice. ` +
      'Run the forward pass again, add the losses and call backward once, or pass { retainGraph: true } to the first call',
    { op, line },
  );
}

/** The parameter behind a leaf. @throws AutogradError when a step has changed it since the forward pass. */
function requireCurrent(runtime: Runtime, leaf: LeafNode): Tensor | undefined {
  const owner = runtime.trainable(leaf);
  if (owner === null || leaf.leaf.kind !== 'state') return undefined;
  const record = runtime.recordOf(leaf);
  if (record.updatedAt > leaf.leaf.version) {
    throw new AutogradError(
      `backward: a parameter of shape ${formatShape(leaf.type.shape)} was changed by an optimizer step after the forward pass ` +
        `(weights ${String(leaf.leaf.version)}, now ${String(record.updatedAt)}); run the forward pass again before backward()`,
      { version: leaf.leaf.version, current: record.updatedAt },
    );
  }
  return owner;
}
