/** @file The programs of one engine: decoded and costed once, remembered for its life, held by workers while they are used. */
import type { ProgramHash, Work } from '@ravenlab/protocol';
import {
  ClusterError,
  ENGINE_LIMITS,
  RavenError,
  decodeProgram,
  programCost,
} from '@ravenlab/protocol';
import type { ResourceId } from '../core/cluster/state.js';
import type { KnownProgram } from './planView.js';
import { outputTypesOf } from './planView.js';
import type { Resources } from './resources.js';

export interface ProgramTableOptions {
  readonly resources: Resources;
  readonly sha256: (bytes: Uint8Array) => string;
  readonly amountOf: (work: Work) => bigint;
  /** Workers need not hold these any more. */
  readonly retire: (resources: readonly ResourceId[]) => void;
}

export class ProgramTable {
  private readonly options: ProgramTableOptions;
  private readonly programs = new Map<ProgramHash, KnownProgram>();
  private totalBytes = 0;
  /** Programs that workers may hold, least recently used first. */
  private readonly resident = new Map<ProgramHash, KnownProgram>();

  constructor(options: ProgramTableOptions) {
    this.options = options;
  }

  /** @throws RavenError when the bytes are no program, are not of this hash, or are too many. */
  define(hash: ProgramHash, bytes: Uint8Array): void {
    if (this.programs.has(hash)) return;
    const { resources, sha256, amountOf } = this.options;
    const actual = sha256(bytes);
    if (actual !== hash) {
      throw new RavenError('program', `program says it is ${hash}, its bytes are ${actual}`);
    }
    const decoded = decodeProgram(bytes);
    if (!decoded.ok) throw decoded.error;
    this.checkRoom(bytes.byteLength);
    const program = decoded.value;
    const work = programCost(program);
    const own = Uint8Array.from(bytes);
    this.totalBytes += own.byteLength;
    this.programs.set(hash, {
      hash,
      program,
      resource: resources.add({ kind: 'program', hash, bytes: own }, own.byteLength),
      flops: work.flops,
      sizeBytes: work.bytes,
      amount: amountOf(work),
      outputTypes: outputTypesOf(program),
    });
  }

  all(): IterableIterator<KnownProgram> {
    return this.programs.values();
  }

  /** @throws ClusterError when it was never defined. */
  get(hash: ProgramHash): KnownProgram {
    const known = this.programs.get(hash);
    if (known === undefined) {
      throw new ClusterError(
        `program ${hash.slice(0, 12)} is unknown to the engine; define it first`,
      );
    }
    return known;
  }

  /**
   * Counts the programs as used now. Workers drop what has not been used for the longest time, and get it again when it is:
   * a connection numbers a bounded count of programs.
   */
  use(programs: readonly KnownProgram[], isActive: (hash: ProgramHash) => boolean): void {
    for (const known of programs) {
      this.resident.delete(known.hash);
      this.resident.set(known.hash, known);
    }
    for (const [hash, { resource }] of this.resident) {
      if (this.resident.size <= ENGINE_LIMITS.residentPrograms) return;
      if (programs.some((known) => known.hash === hash) || isActive(hash)) continue;
      this.resident.delete(hash);
      this.options.retire([resource.id]);
    }
  }

  private checkRoom(sizeBytes: number): void {
    const isFull =
      this.programs.size >= ENGINE_LIMITS.programs ||
      this.totalBytes + sizeBytes > ENGINE_LIMITS.programBytesTotal;
    if (!isFull) return;
    throw new RavenError(
      'limit',
      `the engine remembers ${String(this.programs.size)} programs and takes no more: nearly every step makes a new graph. ` +
        'Pad inputs to a few sizes, or restart the kernel',
    );
  }
}
