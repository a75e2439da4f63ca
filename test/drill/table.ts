/** @file The table of drills, in the order in which they run. */
import { CRASHES } from './drills/crashes.js';
import { CHEATS } from './drills/cheat.js';
import { CROWDS } from './drills/crowd.js';
import { DISKS } from './drills/disk.js';
import { MONEY } from './drills/money.js';
import { HOSTILES } from './drills/hostile.js';
import { RESTARTS } from './drills/restarts.js';
import { SILENCES } from './drills/silence.js';
import { VOUCHERS } from './drills/vouchers.js';
import type { Drill } from './lib/drill.js';

export const DRILLS: readonly Drill[] = [
  ...CRASHES,
  ...SILENCES,
  ...RESTARTS,
  ...DISKS,
  ...CROWDS,
  ...HOSTILES,
  ...VOUCHERS,
  ...CHEATS,
  ...MONEY,
];
