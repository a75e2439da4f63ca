/** @file Bookkeeping of what a cell has built but not run: bounds it, and remembers the small results of a step. */
import { API_LIMITS } from '@ravenlab/protocol';
import type { GraphNode } from '../core/graph/node.js';
import { evaluateSync } from './evaluate.js';
import { isDifferentiable, markDifferentiable } from './gradMode.js';
import { currentRuntime } from './runtime.js';

/** Nodes that wait below a tensor, as an upper estimate; absent for leaves. */
const waiting = new WeakMap<GraphNode, number>();

/** Called for every tensor that an op makes. Computes it when more than `API_LIMITS.pendingNodes` wait below. */
export function noteCreated(
  node: GraphNode,
  inputs: readonly GraphNode[],
  requiresGrad: boolean,
): void {
  const runtime = currentRuntime();
  runtime.recent.note(node);
  if (requiresGrad) {
    // Cutting here would cut the way back to the weights; the optimizer's step runs this part as a whole.
    markDifferentiable(node);
    return;
  }
  let estimate = 1;
  for (const input of inputs) estimate += waiting.get(input) ?? 0;
  if (estimate > API_LIMITS.pendingNodes) {
    estimate = countWaiting(node);
    if (estimate > API_LIMITS.pendingNodes) {
      evaluateSync([node]);
      estimate = 0;
    }
  }
  waiting.set(node, estimate);
}

/** Distinct nodes below `node` that no step will compute; stops counting above the limit. */
function countWaiting(node: GraphNode): number {
  const runtime = currentRuntime();
  const seen = new Set<GraphNode>([node]);
  const stack = [node];
  for (let top = stack.pop(); top !== undefined; top = stack.pop()) {
    if (seen.size > API_LIMITS.pendingNodes) break;
    for (const input of top.inputs) {
      if (input.kind === 'leaf' || seen.has(input)) continue;
      if (isDifferentiable(input) || runtime.isSettled(input)) continue;
      seen.add(input);
      stack.push(input);
    }
  }
  return seen.size;
}
