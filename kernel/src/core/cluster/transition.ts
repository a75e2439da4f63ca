/** @file How a status changes: by a literal table only. A pair that is not in the table is a programming error. */
import { ENGINE_LIMITS } from '@ravenlab/protocol';

/** `table[status][cause]` is the next status. Rows of terminal statuses are empty. */
export type Table<Status extends string, Cause extends string> = Readonly<
  Record<Status, Readonly<Partial<Record<Cause, Status>>>>
>;

/** A broken invariant: our own mistake. The engine stops with the story instead of going on with a wrong state. */
export class InvariantError extends Error {
  readonly story: readonly string[];

  constructor(message: string, story: readonly string[] = []) {
    super(
      story.length === 0 ? message : `${message}\nWhat happened before:\n  ${story.join('\n  ')}`,
    );
    this.name = 'InvariantError';
    this.story = story;
  }
}

/**
 * Asserts what we believe; always on.
 * @param message a function where it is asserted for every unit: making the words costs more than the check.
 * @throws InvariantError
 */
export function invariant(condition: boolean, message: string | (() => string)): asserts condition {
  if (condition) return;
  throw new InvariantError(typeof message === 'string' ? message : message());
}

/** Sees every cell of a table that is visited: the simulator's proof of coverage. */
export type TransitionWatch = (table: string, status: string, cause: string) => void;

/** The last events of a machine, kept as they came and turned to text only when a story is needed. */
export class Trace {
  watch: TransitionWatch | null = null;
  private readonly ring: unknown[] = [];
  private count = 0;

  record(event: unknown): void {
    this.ring[this.count % ENGINE_LIMITS.storyEvents] = event;
    this.count++;
  }

  /** What happened, oldest first. */
  story(): string[] {
    const at = this.count % ENGINE_LIMITS.storyEvents;
    const ordered =
      this.count <= ENGINE_LIMITS.storyEvents
        ? this.ring
        : [...this.ring.slice(at), ...this.ring.slice(0, at)];
    return ordered.map((event) =>
      JSON.stringify(event, (_key, value: unknown) =>
        typeof value === 'bigint' ? value.toString() : value,
      ),
    );
  }
}

/**
 * Next status of a subject by its table.
 * @throws InvariantError with the story when the table has no such pair.
 */
export function nextStatus<Status extends string, Cause extends string>(
  trace: Trace,
  name: string,
  table: Table<Status, Cause>,
  status: Status,
  cause: Cause,
  subject: string | number,
): Status {
  const next = table[status][cause];
  if (next === undefined) {
    throw new InvariantError(
      `${name} ${String(subject)} is ${status}: '${cause}' cannot happen to it`,
      trace.story(),
    );
  }
  trace.watch?.(name, status, cause);
  return next;
}
