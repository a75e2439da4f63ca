/** @file A walk over an acorn syntax tree that knows when it is inside a function. */

import type { AnyNode } from 'acorn';

/** What the walk tells of a node's surroundings. */
export interface WalkContext {
  readonly parent: AnyNode | null;
  /** The code belongs to a function or class body, not to the cell itself. */
  readonly isInFunction: boolean;
}

/** Called before (`enter`) and after (`leave`) the children of every node. */
export interface Visitor {
  enter(node: AnyNode, context: WalkContext): void;
  leave(node: AnyNode, context: WalkContext): void;
}

const FUNCTION_TYPES = new Set([
  'FunctionDeclaration',
  'FunctionExpression',
  'ArrowFunctionExpression',
  'StaticBlock',
  'PropertyDefinition',
]);

/** Visits `root` and everything below it in source order. */
export function walk(root: AnyNode, visitor: Visitor): void {
  visit(root, { parent: null, isInFunction: false }, visitor);
}

function visit(node: AnyNode, context: WalkContext, visitor: Visitor): void {
  visitor.enter(node, context);
  const isInFunction = context.isInFunction || FUNCTION_TYPES.has(node.type);
  for (const child of childrenOf(node)) visit(child, { parent: node, isInFunction }, visitor);
  visitor.leave(node, context);
}

function childrenOf(node: AnyNode): AnyNode[] {
  const children = Object.values(node).flatMap((value: unknown) =>
    Array.isArray(value) ? value.filter(isNode) : isNode(value) ? [value] : [],
  );
  // A shorthand property holds one node twice.
  return [...new Set(children)].sort((a, b) => a.start - b.start);
}

function isNode(value: unknown): value is AnyNode {
  return (
    typeof value === 'object' &&
    value !== null &&
    'type' in value &&
    typeof value.type === 'string' &&
    'start' in value
  );
}

/** Names that a binding pattern declares, in source order. */
export function namesOfPattern(pattern: AnyNode): string[] {
  switch (pattern.type) {
    case 'Identifier':
      return [pattern.name];
    case 'ObjectPattern':
      return pattern.properties.flatMap((property) =>
        namesOfPattern(property.type === 'RestElement' ? property.argument : property.value),
      );
    case 'ArrayPattern':
      return pattern.elements.flatMap((element) => (element ? namesOfPattern(element) : []));
    case 'AssignmentPattern':
      return namesOfPattern(pattern.left);
    case 'RestElement':
      return namesOfPattern(pattern.argument);
    default:
      return [];
  }
}
