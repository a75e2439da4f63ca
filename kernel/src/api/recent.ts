/** @file The small results that a cell made lately: a step computes those that hang on its own graph for free. */
import { API_LIMITS, sizeOf } from '@ravenlab/protocol';
import type { GraphNode } from '../core/graph/node.js';

/**
 * A loss or an accuracy is read after the step that could have computed it. Which tensors a program will still read
 * cannot be known, and asking the garbage collector would make programs differ from step to step; structure decides.
 */
export class RecentResults {
  private nodes: GraphNode[] = [];

  note(node: GraphNode): void {
    if (sizeOf(node.type.shape) > API_LIMITS.sinkElements) return;
    this.nodes.push(node);
    if (this.nodes.length > API_LIMITS.recentResults) this.nodes.shift();
  }

  clear(): void {
    this.nodes = [];
  }

  /**
   * Noted nodes that need nothing but what `step` reads or computes: every path down ends in a node of `step` or in a
   * constant, and `isForeign` (a value of an earlier step) is not met. Nodes that only feed another such node are left out.
   */
  sinksOf(step: ReadonlySet<GraphNode>, isForeign: (node: GraphNode) => boolean): GraphNode[] {
    const inside = new Set(step);
    const sinks: GraphNode[] = [];
    for (let i = this.nodes.length - 1; i >= 0; i--) {
      const node = this.nodes[i];
      if (node === undefined || inside.has(node)) continue;
      const below = walkTo(node, inside, isForeign);
      if (below?.touches !== true) continue;
      for (const member of below.added) inside.add(member);
      sinks.push(node);
    }
    return sinks.reverse();
  }
}

interface Below {
  readonly added: readonly GraphNode[];
  /** Reaches a computed node of the step, not just the data it reads. */
  readonly touches: boolean;
}

/** Nodes between `root` and `inside`; null when a foreign leaf or value is met, or the way is too long. */
function walkTo(
  root: GraphNode,
  inside: ReadonlySet<GraphNode>,
  isForeign: (node: GraphNode) => boolean,
): Below | null {
  const seen = new Set<GraphNode>([root]);
  const stack = [root];
  let touches = false;
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    if (isForeign(node) || seen.size > API_LIMITS.recentResults) return null;
    for (const input of node.inputs) {
      if (inside.has(input)) {
        touches ||= input.kind === 'op';
        continue;
      }
      if (input.kind === 'leaf') return null;
      if (seen.has(input)) continue;
      seen.add(input);
      stack.push(input);
    }
  }
  return { added: [...seen], touches };
}
