/**
 * @file Which cell the running code belongs to, and what keeps the code of a stopped cell from going on.
 *
 * Termination ends only what is running at that moment. A stopped cell that waits would wake up later
 * and continue (a zombie), so every await of cell code, every timer and tick passes through here: none
 * wakes up once its cell was stopped. Promise callbacks are not cut off: libraries keep their books in them.
 *
 * This is not AsyncLocalStorage: up to Node 22 that is built on async hooks, and terminating code inside
 * a promise callback then leaves Node's async id stack unbalanced, which aborts the whole process.
 * Price: code of a library that runs after an await of its own counts as the newest cell's.
 */

import { promisify } from 'node:util';
import { RavenError } from '@ravenlab/protocol';
import { CONTROL } from '../threadMessages.js';
import type { CellId } from '../threadMessages.js';

/** The run that a piece of code descends from. */
export interface RunContext {
  readonly cellId: CellId;
  readonly allowStdin: boolean;
  isStopped: boolean;
  /** A cell that wakes up while Stop is under way gets an error once, so that its `finally` blocks run. */
  wasToldOfStop: boolean;
}

type AnyFunction = (this: unknown, ...args: unknown[]) => unknown;

/** What Stop does to a callback that its cell has left behind. */
type CallbackLifetime = 'endsWithCell' | 'outlivesCell';

/** How an awaited value settled, as a value: the awaiting code itself throws, in its own context. */
type Settled =
  | { readonly isError: false; readonly value: unknown }
  | { readonly isError: true; readonly error: unknown };

/** Never settles; a stopped cell waits for it until it is collected. */
const NEVER = new Promise<never>(() => undefined);
const nextMicrotask = queueMicrotask;

/** Tracks the current cell across awaits, timers and callbacks. */
export class CellScope {
  private readonly control: Int32Array;
  /** Set while code of a known cell runs. */
  private active: RunContext | null = null;
  /** The cell that was started last. */
  private newest: RunContext | null = null;

  constructor(control: Int32Array) {
    this.control = control;
  }

  /** Starts a cell: `body` is its code. */
  run(context: RunContext, body: () => void): void {
    this.newest = context;
    this.enter(context, body);
  }

  /** The event loop turned: no cell's code is running. */
  readonly reset = (): void => {
    this.active = null;
  };

  /** The cell of the running code; if unknown, the newest cell. */
  get current(): RunContext | null {
    return this.active ?? this.newest;
  }

  /** Stop has come: remembers it in the runs that it ended, before another Stop overwrites the mark. */
  noteStop(): void {
    if (this.newest) this.isStopped(this.newest);
  }

  /** Stop is over: what has not woken up by now never will. */
  endStop(): void {
    const { newest } = this;
    if (newest && this.isStopped(newest)) newest.wasToldOfStop = true;
  }

  /** True once Stop has ended this run. */
  isStopped(context: RunContext): boolean {
    if (context.isStopped) return true;
    const stopped = Atomics.load(this.control, CONTROL.stoppedCell);
    const through = Atomics.load(this.control, CONTROL.stoppedThrough);
    context.isStopped = context.cellId === stopped || context.cellId <= through;
    return context.isStopped;
  }

  /*
   * `await x` of cell code is `resume(here(), await settle(x))`: the context is taken before the wait,
   * kept by the suspended code itself, and put back when it goes on.
   */

  readonly here = (): RunContext | null => this.current;

  readonly settle = async (value: unknown): Promise<Settled> => {
    const context = this.current;
    let settled: Settled;
    try {
      settled = { isError: false, value: await value };
    } catch (error) {
      settled = { isError: true, error };
    }
    if (!context || !this.isStopped(context)) return settled;
    if (context.wasToldOfStop) await NEVER;
    context.wasToldOfStop = true;
    const isTold = settled.isError && isInterruptError(settled.error);
    return isTold ? settled : { isError: true, error: stoppedError() };
  };

  readonly resume = (context: RunContext | null, settled: Settled): unknown => {
    this.active = context;
    // What runs after this piece of an older cell is not that cell's any more.
    if (context !== this.newest) nextMicrotask(this.reset);
    if (settled.isError) throw settled.error;
    return settled.value;
  };

  /** The iterable of `for await` in cell code, with the same guard on every step. */
  readonly iterate = (iterable: AsyncIterable<unknown> | Iterable<unknown>): AsyncGenerator => {
    const context = this.current;
    const guard = async (): Promise<void> => {
      if (context && this.isStopped(context)) await NEVER;
      this.active = context;
    };
    return (async function* () {
      for await (const value of iterable) {
        await guard();
        yield value;
      }
    })();
  };

  /** Replaces what schedules callbacks by versions whose callbacks belong to, and die with, their cell. */
  installCallbacks(): void {
    const setTimeoutPromised = promisify(setTimeout);
    const setImmediatePromised = promisify(setImmediate);
    for (const name of ['setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask'] as const) {
      this.bindArguments(globalThis, name, 'endsWithCell');
    }
    Object.defineProperty(setTimeout, promisify.custom, { value: setTimeoutPromised });
    Object.defineProperty(setImmediate, promisify.custom, { value: setImmediatePromised });
    this.bindArguments(process, 'nextTick', 'endsWithCell');
    // `await` of native promises does not come here; `.then`, `.catch` and `.finally` all do.
    this.bindArguments(Promise.prototype, 'then', 'outlivesCell');
  }

  /** Makes a function bind the functions among its first two arguments to the cell that calls it. */
  private bindArguments(owner: object, name: string, lifetime: CallbackLifetime): void {
    const native = Reflect.get(owner, name) as AnyFunction;
    const bind = (value: unknown): unknown =>
      typeof value === 'function' ? this.bindCallback(value as AnyFunction, lifetime) : value;
    const wrapped = function (this: unknown, ...args: unknown[]): unknown {
      if (args.length > 0) args[0] = bind(args[0]);
      if (args.length > 1) args[1] = bind(args[1]);
      return native.apply(this, args);
    };
    Object.defineProperty(wrapped, 'name', { value: name });
    Object.defineProperty(wrapped, 'length', { value: native.length });
    const property = Object.getOwnPropertyDescriptor(owner, name);
    Object.defineProperty(owner, name, { ...property, value: wrapped });
  }

  private bindCallback(callback: AnyFunction, lifetime: CallbackLifetime): AnyFunction {
    const context = this.active;
    if (!context) return callback;
    const enter = (body: () => unknown): unknown =>
      lifetime === 'endsWithCell' && this.isStopped(context)
        ? undefined
        : this.enter(context, body);
    return function (this: unknown, ...args: unknown[]): unknown {
      return enter(() => callback.apply(this, args));
    };
  }

  private enter<T>(context: RunContext, body: () => T): T {
    const outer = this.active;
    this.active = context;
    try {
      return body();
    } finally {
      this.active = outer;
    }
  }
}

function stoppedError(): RavenError {
  return new RavenError('interrupted', 'the cell was stopped', { retryable: true });
}

/** The error of a request that Stop has cut off. */
export function isInterruptError(error: unknown): boolean {
  return (
    typeof error === 'object' && error !== null && 'code' in error && error.code === 'interrupted'
  );
}
