/** @file What one row of the gradient table is. Not the table (gradRules.ts). */
import type { OpName } from '@ravenlab/protocol';
import { AutogradError } from '@ravenlab/protocol';
import type { GraphBuilder } from '../graph/build.js';
import type { GraphNode, OpNode } from '../graph/node.js';

/**
 * dL/d(input `index`) of `node`, given dy = dL/d(node). It may have any shape that broadcasting input `index` gives:
 * backward() sums it back. Built from ops alone, so a gradient can be differentiated again.
 */
export type InputGrad<N extends OpName> = (
  g: GraphBuilder,
  dy: GraphNode,
  node: OpNode<N>,
  index: number,
) => GraphNode;

/**
 * One entry an input; null where the derivative is zero or the input has no gradient (integers, conditions).
 * An op that takes a list has one entry, used for every input.
 */
export type GradRule<N extends OpName> = readonly (InputGrad<N> | null)[];
export type GradRules = { readonly [N in OpName]: GradRule<N> };

/** Integer or bool results, sources, and functions that are flat almost everywhere. */
export const zero = [] as const;

/** An input whose gradient would need an op that does not exist. */
export function once(op: string): InputGrad<OpName> {
  return () => {
    throw new AutogradError(
      `${op} cannot be differentiated again: it is itself a gradient and no op expresses its derivative; ` +
        'detach() the first gradient, or use an op without this limit (avgPool2d, or normalisation written with mean)',
      { op },
    );
  };
}
