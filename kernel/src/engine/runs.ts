/**
 * @file Which sessions there were and which runs they trained: what a session that attaches can go on with. Knows ids and opaque texts;
 * weights are in the state store.
 */
import type {
  AttachedRun,
  EngineReply,
  EngineRequest,
  ExecutionPlan,
  JobState,
  RunId,
  StateId,
  StateVersion,
} from '@ravenlab/protocol';
import { API_LIMITS, ClusterError, ENGINE_LIMITS, RavenError } from '@ravenlab/protocol';

type Request<K extends EngineRequest['kind']> = Extract<EngineRequest, { kind: K }>;

/** All that is known of a run; plain data, so that it can be written down. */
export interface RunRecord {
  readonly runId: RunId;
  readonly manifest: string;
  readonly stateIds: readonly StateId[];
  /** Session that trains it, or adopted it. */
  readonly session: number;
  /** The rest is that of the last commit; version 0: none yet. */
  readonly bookmark: string;
  readonly step: number;
  readonly epoch: number;
  readonly version: StateVersion;
  readonly state: JobState;
}

/** The table at one moment; plain data. */
export interface RunTableImage {
  readonly records: readonly RunRecord[];
  readonly sessionCount: number;
  readonly highestId: number;
  readonly firstOwnId: number;
  readonly isInherited: boolean;
  readonly shown: RunId | null;
  readonly kernel: number;
}

function checkText(what: string, text: string, max: number): void {
  if (typeof text === 'string' && text.length <= max) return;
  throw new RavenError(
    'limit',
    `${what} has ${String(text.length)} characters, at most ${String(max)} are kept`,
  );
}

export class RunTable {
  /** In the order of their last commit. */
  private readonly records = new Map<RunId, RunRecord>();
  private sessionCount = 0;
  private highestId = 0;
  /** Ids below were made by earlier sessions. */
  private firstOwnId = 1;
  private isInherited = false;
  private firstIdOfLife = 1;
  /** The run that this session trained or adopted last. */
  private shown: RunId | null = null;
  /** Number of the kernel whose session it is; 0 before there was one. */
  private kernel = 0;

  get session(): number {
    return this.sessionCount;
  }

  image(): RunTableImage {
    const { sessionCount, highestId, firstOwnId, isInherited, shown, kernel } = this;
    return {
      records: [...this.records.values()],
      ...{ sessionCount, highestId, firstOwnId, isInherited, shown, kernel },
    };
  }

  /** Goes on where an earlier life of the engine was. */
  restore(image: RunTableImage): void {
    for (const record of image.records) this.records.set(record.runId, record);
    this.sessionCount = image.sessionCount;
    this.highestId = image.highestId;
    const first = image.highestId + ENGINE_LIMITS.idsPerImage + 1;
    this.firstIdOfLife = Math.max(this.firstIdOfLife, first);
    this.firstOwnId = image.firstOwnId;
    this.isInherited = image.isInherited;
    this.shown = image.shown;
    this.kernel = image.kernel;
  }

  /**
   * Workers that outlive the engine and its kernel may hold what neither knows of any more, so an id that was given out comes
   * back in no later life. @param boot counts the starts of the engine, from 1.
   */
  beginLife(boot: number): void {
    this.firstIdOfLife = (boot - 1) * ENGINE_LIMITS.idsPerImage + 1;
  }

  /** Every id that a request names is taken, also in later sessions. */
  sawId(id: number): void {
    this.highestId = Math.max(this.highestId, id);
  }

  /** Who asks from now on: the kernel before, back on another connection, or a new one, which attaches when it makes something. */
  greet(kernel: number): void {
    if (kernel !== this.kernel) this.shown = null;
    this.kernel = kernel;
  }

  /** @param holds whether a state is still there */
  attach(
    version: StateVersion,
    holds: (stateId: StateId) => boolean,
  ): Extract<EngineReply, { kind: 'attached' }> {
    this.sessionCount++;
    this.firstOwnId = this.highestId + 1;
    this.isInherited = true;
    this.shown = null;
    const last = [...this.records.values()].filter((record) => record.version > 0).at(-1);
    return {
      kind: 'attached',
      session: this.sessionCount,
      version,
      nextId: Math.max(this.firstOwnId, this.firstIdOfLife),
      run: last?.stateIds.every(holds) === true ? attachedRun(last) : null,
    };
  }

  /** @throws RavenError for a manifest that is too long. */
  open({ runId, manifest, stateIds }: Request<'openRun'>): void {
    checkText('openRun: the manifest', manifest, API_LIMITS.manifestChars);
    const fresh = { bookmark: '', step: 0, epoch: 0, version: 0 as StateVersion };
    const known = this.records.get(runId) ?? fresh;
    const { session } = this;
    this.put({ ...known, runId, manifest, stateIds, session, state: 'running' });
  }

  /** @throws RavenError for a bookmark that is too long. */
  mark({ runId, step, bookmark }: Request<'mark'>): void {
    checkText('mark: the bookmark', bookmark, API_LIMITS.bookmarkChars);
    const record = this.records.get(runId);
    if (record?.step === step + 1) this.records.set(runId, { ...record, bookmark });
  }

  /** @throws ClusterError when the run is not known. */
  adopt({ runId }: Request<'adopt'>): void {
    const record = this.records.get(runId);
    if (record === undefined) {
      throw new ClusterError(`run ${runId} is not known to the engine; there is nothing to adopt`);
    }
    this.records.set(runId, { ...record, session: this.sessionCount });
    this.shown = runId;
  }

  /**
   * An execution begins. @returns the run whose bits it takes: its own; what is computed beside a run looks at the last one of
   * this session, so it waits for the same class of workers. A session that has none is bound to nothing that an earlier one left.
   * @throws RavenError for a bookmark that is too long.
   */
  started({ step, updates }: ExecutionPlan): RunId | null {
    for (const { optimizerId } of updates) this.sawId(optimizerId);
    if (step === null) return this.shown;
    checkText('step: the bookmark', step.bookmark, API_LIMITS.bookmarkChars);
    this.shown = step.runId;
    return step.runId;
  }

  /** An execution is committed, and made `version`. */
  committed({ step: info }: ExecutionPlan, version: StateVersion): void {
    if (info === null) return;
    const { runId, bookmark, epoch, steps } = info;
    const step = info.step + 1;
    const state = steps !== null && step >= steps ? 'done' : 'running';
    const { session } = this;
    const known = this.records.get(runId) ?? { manifest: '', stateIds: [] };
    this.put({ ...known, runId, bookmark, epoch, version, step, state, session });
  }

  ended(runId: string, state: JobState): void {
    const record = this.records.get(runId as RunId);
    if (record !== undefined) this.records.set(record.runId, { ...record, state });
  }

  /**
   * Ids below which everything was made by earlier sessions, and what of it is adopted; null when that has been asked before in this
   * session. For its first training step.
   */
  takeInheritance(): { readonly firstOwnId: number; readonly adopted: ReadonlySet<number> } | null {
    if (!this.isInherited) return null;
    this.isInherited = false;
    const own = [...this.records.values()].filter(({ session }) => session === this.sessionCount);
    for (const [runId, { session }] of this.records) {
      if (session !== this.sessionCount) this.records.delete(runId);
    }
    return {
      firstOwnId: this.firstOwnId,
      adopted: new Set(own.flatMap(({ stateIds }) => stateIds)),
    };
  }

  private put(record: RunRecord): void {
    this.records.delete(record.runId);
    this.records.set(record.runId, record);
    const [oldest] = this.records.keys();
    if (this.records.size > ENGINE_LIMITS.runs && oldest !== undefined) this.records.delete(oldest);
  }
}

function attachedRun(record: RunRecord): AttachedRun {
  const { runId, manifest, bookmark, step, epoch, version, state } = record;
  return { runId, manifest, bookmark, step, epoch, version, state };
}
