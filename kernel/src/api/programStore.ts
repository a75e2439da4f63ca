/** @file Which programs the engine knows, and which line of which cell each of their nodes came from. */
import type { EngineRequest, Program, ProgramHash } from '@ravenlab/protocol';
import { API_LIMITS, encodeProgram } from '@ravenlab/protocol';
import type { GraphNode } from '../core/graph/node.js';
import { recordOrigins } from './emit.js';

/** Executions without a new program after which a loop counts as settled. */
const SETTLED_AFTER = 3;

/** Encodes and hashes each program once; the planner returns the same objects for graphs of the same shape. */
export class ProgramStore {
  private readonly hashes = new WeakMap<Program, ProgramHash>();
  private readonly defined = new Set<ProgramHash>();
  private readonly origins = new Map<ProgramHash, readonly unknown[]>();
  private quiet = 0;

  /** Programs that the engine has been told. */
  get size(): number {
    return this.defined.size;
  }

  /**
   * Hashes of `programs`; `send` is called for each that the engine has not been told.
   * @param sources graph node behind each program node
   */
  define(
    programs: readonly Program[],
    sources: readonly GraphNode[],
    sha256: (bytes: Uint8Array) => string,
    send: (request: EngineRequest) => Promise<unknown>,
  ): { readonly hashes: ProgramHash[]; readonly isNew: boolean } {
    const before = this.defined.size;
    const hashes = programs.map((program) => {
      const known = this.hashes.get(program);
      if (known !== undefined && this.defined.has(known)) return known;
      const bytes = encodeProgram(program);
      const hash = sha256(bytes) as ProgramHash;
      this.hashes.set(program, hash);
      if (this.defined.has(hash)) return hash;
      this.defined.add(hash);
      // Stop may take it out of the queue: then it has to be told again.
      send({ kind: 'defineProgram', hash, bytes }).catch(() => this.defined.delete(hash));
      return hash;
    });
    const isNew = this.defined.size > before;
    this.noteOrigins(hashes[0], sources);
    this.quiet = isNew ? 0 : this.quiet + 1;
    recordOrigins(this.quiet < SETTLED_AFTER);
    return { hashes, isNew };
  }

  /** The engine is a new one. */
  clear(): void {
    this.defined.clear();
  }

  /** Where each node of the program was written, if it was recorded when the program was new. */
  originsOf(hash: ProgramHash | undefined): readonly unknown[] {
    return hash === undefined ? [] : (this.origins.get(hash) ?? []);
  }

  private noteOrigins(hash: ProgramHash | undefined, sources: readonly GraphNode[]): void {
    if (hash === undefined || this.origins.has(hash)) return;
    if (sources.every(({ origin }) => origin === undefined)) return;
    this.origins.set(
      hash,
      sources.map(({ origin }) => origin),
    );
    for (const oldest of this.origins.keys()) {
      if (this.origins.size <= API_LIMITS.programOrigins) return;
      this.origins.delete(oldest);
    }
  }
}
