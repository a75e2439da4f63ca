/** @file What outcomes of the compute thread mean for the units of their RUN. */
import type { RunMessage } from '@ravenlab/protocol';
import type { UnitOutcome } from '../compute/computeMessages.js';

/** Positions that an outcome speaks for: those of its whole group, when that was added up. */
export function coveredUnits(
  { merge }: RunMessage,
  { unit, status }: UnitOutcome,
): readonly number[] {
  if (merge === null || status !== 'ok') return [unit];
  let first = 0;
  for (const size of merge.groups) {
    if (first === unit) return Array.from({ length: size }, (_, i) => first + i);
    first += size;
  }
  return [unit];
}

/** What is left of an outcome when some of its units were cancelled meanwhile: without the first, a sum has no lease. */
export function openOutcomes(
  outcome: UnitOutcome,
  covered: readonly number[],
  open: ReadonlySet<number>,
): UnitOutcome[] {
  if (open.has(outcome.unit)) return [outcome];
  return covered
    .filter((unit) => open.has(unit))
    .map((unit) => ({ ...outcome, unit, status: 'cancelled', computeUs: 0, outputs: [] }));
}

/** Rows that a unit takes of data that is cut into micro-shards: what people call samples. */
export function samplesPerUnit(run: RunMessage): number {
  for (const input of run.inputs) {
    if (input.kind === 'rows' && input.perUnit) return input.indices.length / run.units.length;
    if (input.kind === 'inline' && input.perUnit) return input.type.shape[0] ?? 1;
  }
  return 0;
}
