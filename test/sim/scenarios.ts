/**
 * @file Plans that found something once, kept for ever: shrunk, and by value, because a bare seed means another schedule as
 * soon as the code draws differently. Each must be clean now. Those of a planted bug
 * spare the search for it; should one miss it, seeds have to find it, and `npm run sim -- --canaries` writes a new one.
 */
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CANARIES } from './canaries.js';
import type { SimPlan } from './plan.js';
import { simulatePlan } from './simulate.js';

export interface Scenario {
  /** Name of the planted bug that it finds; null for a real one, mended since. */
  readonly bug: string | null;
  /** What it found, when it was written. */
  readonly found: string;
  readonly plan: SimPlan;
}

/** All scenarios of a folder, by file name. */
export function readScenarios(folder: string): ReadonlyMap<string, Scenario> {
  const files = readdirSync(folder).filter((name) => name.endsWith('.json'));
  return new Map(
    files
      .sort()
      .map((file) => [file, JSON.parse(readFileSync(join(folder, file), 'utf8')) as Scenario]),
  );
}

/** @returns the file. */
export function writeScenario(folder: string, name: string, scenario: Scenario): string {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${name}.json`);
  writeFileSync(file, `${JSON.stringify(scenario, null, 2)}\n`);
  return file;
}

/** Whether a planted bug's scenario still finds it; a scheduler that decides otherwise may make it miss. */
export function findsItsBug({ bug, plan }: Scenario): boolean {
  const canary = CANARIES.find(({ name }) => name === bug);
  return canary !== undefined && simulatePlan(plan, { canary }).violation !== null;
}

/** File name of a planted bug's scenario. */
export function slugOf(name: string): string {
  return name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-|-$/g, '');
}
