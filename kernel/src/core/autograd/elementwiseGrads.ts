/** @file Gradient rows of elementwise ops. Formulas: y is the op's result, dy its gradient. */
import type { GraphNode } from '../graph/node.js';
import { inputOf } from '../graph/node.js';
import { constantOf } from '../graph/build.js';
import type { GraphBuilder } from '../graph/build.js';
import type { GradRules } from './gradRule.js';
import { zero } from './gradRule.js';

/** 2/√π, the slope of erf at 0. */
const ERF_SLOPE = 2 / Math.sqrt(Math.PI);

/** dy where `a op b` holds strictly, half of it at ties: the mean of the two one-sided slopes. */
function winner(
  g: GraphBuilder,
  op: 'greater' | 'less',
  dy: GraphNode,
  a: GraphNode,
  b: GraphNode,
): GraphNode {
  const half = g.where(g.binary('equal', a, b), g.scale(dy, 0.5), g.scalar(0));
  return g.where(g.binary(op, a, b), dy, half);
}

/** d(xⁿ)/dx = n·xⁿ⁻¹ without a pow where n is small, without 0·∞ where n is 0. */
function powBase(g: GraphBuilder, dy: GraphNode, x: GraphNode, n: GraphNode): GraphNode {
  const constant = constantOf(n);
  if (constant === 0) return g.full(x.type.shape, 0);
  if (constant === 1) return dy;
  if (constant === 2) return g.mul(dy, g.scale(x, 2));
  if (constant !== null) {
    return g.mul(dy, g.scale(g.binary('pow', x, g.scalar(constant - 1)), constant));
  }
  const slope = g.mul(n, g.binary('pow', x, g.sub(n, g.scalar(1))));
  return g.mul(dy, g.where(g.binary('equal', n, g.scalar(0)), g.scalar(0), slope));
}

export const ELEMENTWISE_GRADS = {
  full: zero,
  iota: zero,
  randomUniform: zero,
  floor: zero,
  sign: zero,
  logicalNot: zero,
  equal: zero,
  notEqual: zero,
  less: zero,
  lessEqual: zero,
  greater: zero,
  greaterEqual: zero,
  logicalAnd: zero,
  logicalOr: zero,

  // backward() asks only for float32 → float32, which is the identity.
  cast: [(_g, dy) => dy],
  where: [
    null,
    (g, dy, node) => g.where(inputOf(node, 0), dy, g.scalar(0)),
    (g, dy, node) => g.where(inputOf(node, 0), g.scalar(0), dy),
  ],
  // Inside the bounds (they included) y equals x.
  clip: [(g, dy, y) => g.where(g.binary('equal', inputOf(y, 0), y), dy, g.scalar(0))],

  neg: [(g, dy) => g.unary('neg', dy)],
  abs: [(g, dy, y) => g.mul(dy, g.unary('sign', inputOf(y, 0)))],
  // (eˣ)' = y
  exp: [(g, dy, y) => g.mul(dy, y)],
  log: [(g, dy, y) => g.div(dy, inputOf(y, 0))],
  // (√x)' = 1 / 2y
  sqrt: [(g, dy, y) => g.div(g.scale(dy, 0.5), y)],
  // (x^-½)' = -½·x^-3/2 = -½·y³
  rsqrt: [(g, dy, y) => g.mul(g.scale(dy, -0.5), g.mul(y, g.mul(y, y)))],
  sin: [(g, dy, y) => g.mul(dy, g.unary('cos', inputOf(y, 0)))],
  cos: [(g, dy, y) => g.mul(dy, g.unary('neg', g.unary('sin', inputOf(y, 0))))],
  // 1 - y²
  tanh: [(g, dy, y) => g.mul(dy, g.sub(g.scalar(1), g.mul(y, y)))],
  // y·(1 - y)
  sigmoid: [(g, dy, y) => g.mul(dy, g.mul(y, g.sub(g.scalar(1), y)))],
  // 2/√π · e^(-x²)
  erf: [
    (g, dy, y) => {
      const x = inputOf(y, 0);
      return g.mul(dy, g.scale(g.unary('exp', g.unary('neg', g.mul(x, x))), ERF_SLOPE));
    },
  ],
  // y > 0 where x > 0; using y lets a worker forget x. 0 at the kink, as everywhere.
  relu: [(g, dy, y) => g.where(g.binary('greater', y, g.scalar(0)), dy, g.scalar(0))],
  // Straight through: the slope of the steps is 0 nearly everywhere, that of what they stand for is 1.
  roundFloat16: [(_g, dy) => dy],
  // What takes the place of x is a constant. 0·x is 0 where x is finite.
  finiteOr: [
    (g, dy, y) => {
      const zeros = g.apply('mul', [inputOf(y, 0), g.scalar(0)], {});
      return g.where(g.binary('equal', zeros, zeros), dy, g.scalar(0));
    },
  ],

  add: [(_g, dy) => dy, (_g, dy) => dy],
  sub: [(_g, dy) => dy, (g, dy) => g.unary('neg', dy)],
  mul: [(g, dy, y) => g.mul(dy, inputOf(y, 1)), (g, dy, y) => g.mul(dy, inputOf(y, 0))],
  // (a/b)'ₐ = 1/b, (a/b)'ᵦ = -y/b
  div: [
    (g, dy, y) => g.div(dy, inputOf(y, 1)),
    (g, dy, y) => g.unary('neg', g.div(g.mul(dy, y), inputOf(y, 1))),
  ],
  pow: [
    (g, dy, y) => powBase(g, dy, inputOf(y, 0), inputOf(y, 1)),
    // (aᵇ)'ᵦ = y·ln a, and 0 at a = 0 (the limit for b > 0); NaN for a < 0, where it does not exist.
    (g, dy, y) => {
      const a = inputOf(y, 0);
      const safe = g.where(g.binary('equal', a, g.scalar(0)), g.scalar(1), a);
      return g.mul(dy, g.mul(y, g.unary('log', safe)));
    },
  ],
  maximum: [
    (g, dy, y) => winner(g, 'greater', dy, inputOf(y, 0), inputOf(y, 1)),
    (g, dy, y) => winner(g, 'greater', dy, inputOf(y, 1), inputOf(y, 0)),
  ],
  minimum: [
    (g, dy, y) => winner(g, 'less', dy, inputOf(y, 0), inputOf(y, 1)),
    (g, dy, y) => winner(g, 'less', dy, inputOf(y, 1), inputOf(y, 0)),
  ],
} satisfies Partial<GradRules>;
