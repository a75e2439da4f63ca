/**
 * @file What a paid worker committed to, held against what arrived: the SHA-256 of the bytes of a result, output after output. Those that
 * come in pieces ahead of DONE are hashed as they come, so that nothing is read twice.
 */
import { createHash } from 'node:crypto';
import type { Hash } from 'node:crypto';
import type { Chunks, Hash32, LeaseId, ResultChunk } from '@ravenlab/protocol';
import { LIMITS, RemoteProtocolError } from '@ravenlab/protocol';

interface Running {
  readonly hash: Hash;
  output: number;
}

/** Of one connection; bounded. Whoever takes a lease away says so. */
export class ResultDigests {
  private readonly running = new Map<LeaseId, Running>();

  /** @throws RemoteProtocolError for an output that comes after a later one: a digest is over them in order. */
  piece({ lease, output, bytes }: ResultChunk): void {
    let running = this.running.get(lease);
    if (running === undefined) {
      this.makeRoom();
      running = { hash: createHash('sha256'), output };
      this.running.set(lease, running);
    }
    if (output < running.output) {
      throw new RemoteProtocolError(
        `lease ${String(lease)}: a piece of output ${String(output)} after one of output ${String(running.output)}; outputs go in order`,
      );
    }
    running.output = output;
    for (const frame of bytes) running.hash.update(frame);
  }

  /**
   * @param outputs null when they came in pieces.
   * @throws RemoteProtocolError when the bytes are others than what the worker committed to.
   */
  check(lease: LeaseId, outputs: readonly Chunks[] | null, digest: Hash32): void {
    const hash = this.running.get(lease)?.hash ?? createHash('sha256');
    this.running.delete(lease);
    for (const frame of outputs?.flat() ?? []) hash.update(frame);
    const actual = `0x${hash.digest('hex')}`;
    if (actual === digest) return;
    throw new RemoteProtocolError(
      `result of lease ${String(lease)} is not what its digest says: its bytes have ${actual}, it says ${digest}`,
    );
  }

  forget(leases: readonly LeaseId[]): void {
    for (const lease of leases) this.running.delete(lease);
  }

  /** Of executions that were cancelled pieces may have come: the oldest of all goes. */
  private makeRoom(): void {
    const [oldest] = this.running.keys();
    if (this.running.size >= LIMITS.unitsPerMessage && oldest !== undefined) {
      this.running.delete(oldest);
    }
  }

  get size(): number {
    return this.running.size;
  }
}
