/** @file The table of drills, in the order in which they run. */
import { CRASHES } from './drills/crashes.js';
import { SILENCES } from './drills/silence.js';
import type { Drill } from './lib/drill.js';

export const DRILLS: readonly Drill[] = [...CRASHES, ...SILENCES];
