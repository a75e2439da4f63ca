/** @file Branded ids: a number or string that cannot be mistaken for another kind of id. */
declare const brand: unique symbol;
export type Branded<T, Name extends string> = T & { readonly [brand]: Name };

/** SHA-256 of an encoded program, lower-case hex. */
export type ProgramHash = Branded<string, 'ProgramHash'>;
/** Mutable, versioned tensor held by the engine (a weight, a running statistic); allocated by the kernel, counts up. */
export type StateId = Branded<number, 'StateId'>;
/** Immutable tensor held by the engine and cached by workers (a data set); allocated by the kernel, counts up. */
export type DataId = Branded<number, 'DataId'>;
/** Number of committed updates of a run's states; `W@v` are the weights after v updates. */
export type StateVersion = Branded<number, 'StateVersion'>;
/** A worker's identity, stable over restarts: lower-case hex of its public key. */
export type WorkerId = Branded<string, 'WorkerId'>;
/** One training run, as the panel shows it and the ledger meters it. */
export type RunId = Branded<string, 'RunId'>;
/** Unit of work: program × micro-shard of one execution; counts up within an engine. */
export type UnitId = Branded<number, 'UnitId'>;
/** Timed right of one worker to one unit; never reused, so a stale result is harmless. */
export type LeaseId = Branded<number, 'LeaseId'>;
/** One run of the engine process, random: ids below are unique within it. Lower-case hex. */
export type EngineId = Branded<string, 'EngineId'>;
/** One execution of a plan; counts up within an engine. */
export type ExecutionId = Branded<number, 'ExecutionId'>;
