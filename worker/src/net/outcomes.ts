/** @file What outcomes of the compute thread mean for the units of their RUN. */
import type { RunMessage, WireError } from '@ravenlab/protocol';
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

const MALFORMED: WireError = {
  code: 'internal',
  message: 'the compute process answered with outputs that are not those of its program',
  fault: 'local',
  retryable: true,
};

/** The outcome when its outputs have the sizes that the program says, else its failure: what runs strangers' programs may say anything. */
export function checkedOutcome(outcome: UnitOutcome, outputBytes: readonly number[]): UnitOutcome {
  const { outputs, status } = outcome;
  const isWhole =
    outputs.length === outputBytes.length &&
    outputs.every(({ byteLength }, index) => byteLength === outputBytes[index]);
  if (status === 'ok' ? isWhole : outputs.length === 0) return outcome;
  return { ...outcome, status: 'failed', outputs: [], error: MALFORMED };
}
