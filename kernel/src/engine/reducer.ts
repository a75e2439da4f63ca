/**
 * @file Sums and updates over shared memory: small ones at once on the caller's thread, large ones on the reduce threads,
 * never on the I/O loop. Both run the same loops, so the bits do not depend on where.
 */
import { Worker } from 'node:worker_threads';
import type { NarrowFormat, RobustRule, Share, UpdateBatch, UpdateLoops } from '@ravenlab/protocol';
import { ENGINE_LIMITS, ROUND_LOOPS, RavenError, applyUpdates } from '@ravenlab/protocol';
import { aggregate } from '../core/aggregate/aggregate.js';
import type { SharedMemory } from './wasm/memory.js';
import { KERNELS_FILE, loadKernels } from './wasm/kernels.js';

/** How the sums of one execution lie in a block: float32 first, int32 after. */
export interface SumLayout {
  readonly floatElements: number;
  /** Bytes from the start of the block, a multiple of 16. */
  readonly intOffsetBytes: number;
  readonly intElements: number;
  readonly sizeBytes: number;
  /** Parts that are rounded after each addition. */
  readonly narrow: readonly NarrowPart[];
}

export interface NarrowPart {
  readonly format: NarrowFormat;
  readonly offsetBytes: number;
  readonly elements: number;
}

/** The micro-shards of a step, in order. */
export interface RobustParts {
  readonly rule: RobustRule;
  /** Address of each one's block. */
  readonly blocks: readonly number[];
  /** How many times each goes into the batch. */
  readonly scales: readonly number[];
  readonly parts: readonly { readonly offsetBytes: number; readonly elements: number }[];
}

export type ReduceCommand =
  | {
      readonly id: number;
      readonly kind: 'merge';
      /** Addresses: target, source, target, source, … */
      readonly pairs: readonly number[];
      readonly layout: SumLayout;
    }
  /** Merges, and a robust rule over the parts that are not sums; what it gives is written to the first target. */
  | {
      readonly id: number;
      readonly kind: 'aggregate';
      readonly pairs: readonly number[];
      readonly layout: SumLayout;
      readonly robust: RobustParts;
    }
  | {
      readonly id: number;
      readonly kind: 'update';
      readonly batch: UpdateBatch;
      /** A worker computes the next step meanwhile: there is time, and more of the machine is left to it. */
      readonly hasTime?: boolean;
      /** Left out: all of it. */
      readonly share?: Share;
    }
  /** Answers when everything before it is done. */
  | { readonly id: number; readonly kind: 'fence' };

export interface ReduceReply {
  readonly id: number;
  /** Output that is not finite, or -1. */
  readonly result: number;
}

export interface ReduceThreadData {
  readonly memory: SharedMemory;
  readonly kernelsFile: string;
}

/** Carries out one command; -1, or for an update the output that is not finite. */
export function runCommand(
  kernels: UpdateLoops,
  memory: SharedMemory,
  command: ReduceCommand,
): number {
  switch (command.kind) {
    case 'merge':
      merge(kernels, command);
      return -1;
    case 'aggregate': {
      const { blocks, scales, parts, rule } = command.robust;
      const partsAt = (ptr: number): Float32Array[] =>
        parts.map((part) => new Float32Array(memory.buffer, ptr + part.offsetBytes, part.elements));
      const robust = aggregate(rule, blocks.map(partsAt), scales);
      merge(kernels, command);
      partsAt(blocks[0] ?? 0).forEach((sum, index) => {
        sum.set(robust[index] ?? []);
      });
      return -1;
    }
    case 'update':
      return applyUpdates(kernels, memory, command.batch, command.share);
    case 'fence':
      return -1;
  }
}

function merge(
  kernels: UpdateLoops,
  { pairs, layout }: Pick<Extract<ReduceCommand, { kind: 'merge' }>, 'pairs' | 'layout'>,
): void {
  for (let i = 0; i + 1 < pairs.length; i += 2) {
    const target = pairs[i] ?? 0;
    const source = pairs[i + 1] ?? 0;
    kernels.addF32(target, source, layout.floatElements);
    const ints = layout.intOffsetBytes;
    kernels.addI32(target + ints, source + ints, layout.intElements);
    for (const { format, offsetBytes, elements } of layout.narrow) {
      kernels[ROUND_LOOPS[format]](target + offsetBytes, elements);
    }
  }
}

type CommandBody = ReduceCommand extends infer C
  ? C extends unknown
    ? Omit<C, 'id'>
    : never
  : never;
export type ReduceBody = CommandBody;

/** Does commands in order and tells when each is done. */
export interface Reducer {
  run(body: ReduceBody, onDone: (result: number) => void): void;
}

/** On the caller's thread, at once. */
export class InlineReducer implements Reducer {
  private readonly kernels: UpdateLoops;
  private readonly memory: SharedMemory;

  constructor(memory: SharedMemory, kernelsFile: string = KERNELS_FILE) {
    this.memory = memory;
    this.kernels = loadKernels(memory, kernelsFile);
  }

  run(body: ReduceBody, onDone: (result: number) => void): void {
    onDone(runCommand(this.kernels, this.memory, { ...body, id: 0 }));
  }
}

/** On threads of the engine: sums on the first, in order; each large update in shares on all of them, if somebody waits for it. */
export class ThreadReducer implements Reducer {
  private readonly threads: readonly Worker[];
  private readonly waiting = new Map<number, (result: number) => void>();
  private nextId = 1;

  /** @param onCrash a thread ended by itself: sums in flight are lost, the engine has to stop. */
  constructor(
    memory: SharedMemory,
    onCrash: (error: Error) => void,
    kernelsFile: string = KERNELS_FILE,
  ) {
    const workerData: ReduceThreadData = { memory, kernelsFile };
    this.threads = Array.from({ length: ENGINE_LIMITS.reduceThreads }, () =>
      this.spawn(workerData, onCrash),
    );
  }

  run(body: ReduceBody, onDone: (result: number) => void): void {
    if (body.kind === 'update' && body.hasTime !== true && isLarge(body.batch)) {
      this.share(body, onDone);
      return;
    }
    this.post(0, body, onDone);
  }

  async close(): Promise<void> {
    await Promise.all(this.threads.map((thread) => thread.terminate()));
  }

  private share(
    body: Extract<ReduceBody, { kind: 'update' }>,
    onDone: (result: number) => void,
  ): void {
    const of = this.threads.length;
    let left = of;
    for (let index = 0; index < of; index++) {
      this.post(index, { ...body, share: { index, of } }, (result) => {
        left--;
        if (left === 0) onDone(result);
      });
    }
  }

  private post(thread: number, body: ReduceBody, onDone: (result: number) => void): void {
    const id = this.nextId++;
    this.waiting.set(id, onDone);
    this.threads[thread]?.postMessage({ ...body, id });
  }

  private spawn(workerData: ReduceThreadData, onCrash: (error: Error) => void): Worker {
    const thread = new Worker(new URL('./reduceThread.js', import.meta.url), { workerData });
    thread.on('message', (reply: ReduceReply) => {
      const onDone = this.waiting.get(reply.id);
      this.waiting.delete(reply.id);
      onDone?.(reply.result);
    });
    thread.on('error', (error) => {
      const cause = error instanceof Error ? error : new Error(String(error));
      onCrash(
        new RavenError('internal', `the reduce thread crashed: ${cause.message}`, {
          fault: 'local',
          cause,
        }),
      );
    });
    return thread;
  }
}

function isLarge(batch: UpdateBatch): boolean {
  const bytes = batch.updates.reduce((sum, job) => sum + job.sizeBytes, 0);
  return bytes >= ENGINE_LIMITS.sharedUpdateBytes;
}
