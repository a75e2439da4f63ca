/**
 * @file Which cell the running code belongs to, and what keeps the code of a stopped cell from going on.
 *
 * Termination ends only what is running at that moment. A stopped cell that waits would wake up later
 * and continue (a zombie), so every await of cell code and every timer passes through here: it never
 * wakes up once its cell was stopped.
 */

import { AsyncLocalStorage } from 'node:async_hooks';
import { promisify } from 'node:util';
import { CONTROL } from '../threadMessages.js';
import type { CellId } from '../threadMessages.js';

/** The run that a piece of code descends from. */
export interface RunContext {
  readonly cellId: CellId;
  readonly allowStdin: boolean;
  isStopped: boolean;
  /** The error that tells a waiting cell of Stop, so that its `finally` blocks run, is delivered once. */
  wasToldOfStop: boolean;
}

type TimerFunction = (callback: (...args: unknown[]) => void, ...rest: unknown[]) => unknown;

/** Never settles; a stopped cell waits for it until it is collected. */
const NEVER = new Promise<never>(() => undefined);

/** Tracks the current cell across awaits, timers and callbacks. */
export class CellScope {
  private readonly storage = new AsyncLocalStorage<RunContext | undefined>();
  private readonly control: Int32Array;
  private lastContext: RunContext | null = null;

  constructor(control: Int32Array) {
    this.control = control;
  }

  /** Runs `body` as code of this cell. */
  run<T>(context: RunContext, body: () => T): T {
    this.lastContext = context;
    return this.storage.run(context, body);
  }

  /** Forgets a context that a terminated run has left behind on the event loop. */
  reset(): void {
    this.storage.enterWith(undefined);
  }

  /** The cell of the running code; if unknown, the cell that ran last. */
  get current(): RunContext | null {
    return this.storage.getStore() ?? this.lastContext;
  }

  /** True once Stop has ended this run. */
  isStopped(context: RunContext): boolean {
    if (context.isStopped) return true;
    const stopped = Atomics.load(this.control, CONTROL.stoppedCell);
    const through = Atomics.load(this.control, CONTROL.stoppedThrough);
    context.isStopped = context.cellId === stopped || context.cellId <= through;
    return context.isStopped;
  }

  /** `await x` of cell code: waits for `x`, but never wakes up in a stopped cell. */
  readonly await = async (value: unknown): Promise<unknown> => {
    const context = this.storage.getStore();
    if (!context) return value;
    let settled: unknown;
    try {
      settled = await value;
    } catch (error) {
      if (this.isStopped(context)) {
        if (context.wasToldOfStop || !isInterruptError(error)) await NEVER;
        context.wasToldOfStop = true;
      }
      throw error;
    }
    if (this.isStopped(context)) await NEVER;
    return settled;
  };

  /** The iterable of `for await` in cell code, with the same guard on every step. */
  readonly iterate = async function* (
    this: CellScope,
    iterable: AsyncIterable<unknown> | Iterable<unknown>,
  ): AsyncGenerator {
    const context = this.storage.getStore();
    for await (const value of iterable) {
      if (context && this.isStopped(context)) await NEVER;
      yield value;
    }
  }.bind(this);

  /** Replaces the global timers by ones whose callbacks die with their cell. */
  installTimers(): void {
    const { setTimeout: setTimeoutNative } = globalThis;
    this.wrapTimer('setTimeout');
    this.wrapTimer('setInterval');
    this.wrapTimer('setImmediate');
    // promisify(setTimeout) must stay the promise API, and its waits end in `await` anyway.
    Object.defineProperty(globalThis.setTimeout, promisify.custom, {
      value: promisify(setTimeoutNative),
    });
  }

  private wrapTimer(name: 'setTimeout' | 'setInterval' | 'setImmediate'): void {
    const native = globalThis[name] as unknown as TimerFunction;
    const wrapped: TimerFunction = (callback, ...rest) => {
      const context = this.storage.getStore();
      if (!context || typeof callback !== 'function') return native(callback, ...rest);
      const guarded = (...args: unknown[]): void => {
        if (!this.isStopped(context)) callback(...args);
      };
      return native(guarded, ...rest);
    };
    Object.defineProperty(wrapped, 'name', { value: name });
    Object.defineProperty(globalThis, name, {
      value: wrapped,
      writable: true,
      configurable: true,
      enumerable: true,
    });
  }
}

/** The error of a request that Stop has cut off. */
export function isInterruptError(error: unknown): boolean {
  return (
    typeof error === 'object' && error !== null && 'code' in error && error.code === 'interrupted'
  );
}
