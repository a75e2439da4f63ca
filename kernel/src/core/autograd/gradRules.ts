/** @file The gradient table: one row per op, graph → graph. A missing row does not compile. */
import { ELEMENTWISE_GRADS } from './elementwiseGrads.js';
import type { GradRules } from './gradRule.js';
import { LAYOUT_GRADS } from './layoutGrads.js';
import { LINEAR_GRADS } from './linearGrads.js';
import { REDUCTION_GRADS } from './reductionGrads.js';

export const GRAD_RULES: GradRules = {
  ...ELEMENTWISE_GRADS,
  ...LINEAR_GRADS,
  ...REDUCTION_GRADS,
  ...LAYOUT_GRADS,
};
