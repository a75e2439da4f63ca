/** @file How V8 collects garbage in the engine's process, whose loop must not be held up. */
import { setFlagsFromString } from 'node:v8';

/**
 * Results from other machines are memory outside of V8's heap. What came in since the last collection counts towards the next, whose
 * limit follows the heap: one of 10 MB means a full collection for every 15 MB of results, ten a second. The limit grows instead.
 * And a heap that small is through faster alone than with helpers that have to be woken on busy cores.
 */
const FLAGS = [
  '--heap-growing-percent=500',
  '--no-parallel-scavenge',
  '--no-parallel-compaction',
  '--no-parallel-pointer-update',
] as const;

/** To be called once, early. A V8 that does not know one of them says so on stderr and goes on without it. */
export function tuneGarbageCollection(): void {
  for (const flag of FLAGS) setFlagsFromString(flag);
}
