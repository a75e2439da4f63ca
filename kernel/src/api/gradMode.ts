/** @file Whether new tensors can be differentiated. */
import type { GraphNode } from '../core/graph/node.js';

const mode = { depth: 0 };
const differentiable = new WeakSet<GraphNode>();

export function isGradEnabled(): boolean {
  return mode.depth === 0;
}

/** Marks the node of a tensor that backward can pass. */
export function markDifferentiable(node: GraphNode): void {
  differentiable.add(node);
}

export function isDifferentiable(node: GraphNode): boolean {
  return differentiable.has(node);
}

/**
 * Runs `body` without recording for backward; with an asynchronous body, until its promise settles.
 * Gradients stop at every tensor made inside.
 */
export function noGrad<T>(body: () => T): T {
  mode.depth++;
  let isPending = false;
  try {
    const result = body();
    if (result instanceof Promise) {
      isPending = true;
      const leave = (): void => {
        mode.depth--;
      };
      result.then(leave, leave);
    }
    return result;
  } finally {
    if (!isPending) mode.depth--;
  }
}
