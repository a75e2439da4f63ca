/** @file The placement table: one row per op. A missing row does not compile. */
import { ELEMENTWISE_PLACEMENTS } from './elementwisePlacement.js';
import { LAYOUT_PLACEMENTS } from './layoutPlacement.js';
import { LINEAR_PLACEMENTS, REDUCTION_PLACEMENTS } from './linearPlacement.js';
import type { PlacementRules } from './placement.js';

export const PLACEMENT_RULES: PlacementRules = {
  ...ELEMENTWISE_PLACEMENTS,
  ...LINEAR_PLACEMENTS,
  ...REDUCTION_PLACEMENTS,
  ...LAYOUT_PLACEMENTS,
};
