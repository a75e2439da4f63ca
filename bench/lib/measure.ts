/** @file Taking timing samples: warm-up first, contestants in turns so that drift hits all alike. */
import { summarise } from './stats.js';
import type { Summary } from './stats.js';

/** One thing to time; the returned promise, if any, is awaited inside the sample. */
export interface Contestant {
  readonly name: string;
  readonly run: () => unknown;
}

export interface MeasureOptions {
  /** Samples kept per contestant. */
  readonly samples: number;
  /** Samples thrown away first, per contestant; they pay for compilation and caches. */
  readonly warmUp: number;
  /** Calls inside one sample; raise it when one call is near the clock's 1 us. Default 1. */
  readonly callsPerSample?: number;
}

async function takeSample(run: () => unknown, calls: number): Promise<number> {
  const start = process.hrtime.bigint();
  for (let call = 0; call < calls; call += 1) {
    const pending = run();
    // Awaiting a plain value would add a microtask to every synchronous call.
    if (pending instanceof Promise) await pending;
  }
  return Number(process.hrtime.bigint() - start) / calls;
}

/**
 * Times every contestant, taking turns sample by sample.
 * @returns the samples of each, by name and in order: those of one place were taken one after the other; ns per call
 */
export async function takeSamples<Name extends string>(
  contestants: readonly (Contestant & { readonly name: Name })[],
  { samples, warmUp, callsPerSample = 1 }: MeasureOptions,
): Promise<Readonly<Record<Name, readonly number[]>>> {
  const taken = Object.fromEntries(contestants.map(({ name }) => [name, [] as number[]])) as Record<
    Name,
    number[]
  >;
  for (let round = 0; round < warmUp + samples; round += 1) {
    for (const { name, run } of contestants) {
      const sampleNs = await takeSample(run, callsPerSample);
      if (round >= warmUp) taken[name].push(sampleNs);
    }
  }
  return taken;
}

/**
 * Times every contestant, taking turns sample by sample.
 * @returns one summary per contestant, by name; times are per call
 */
export async function measure<Name extends string>(
  contestants: readonly (Contestant & { readonly name: Name })[],
  options: MeasureOptions,
): Promise<Readonly<Record<Name, Summary>>> {
  const taken = await takeSamples(contestants, options);
  const summaries = contestants.map(({ name }) => [name, summarise(taken[name])] as const);
  return Object.fromEntries(summaries) as Record<Name, Summary>;
}

/** Wall time of one piece of work, in nanoseconds, with what it returned. */
export async function timed<T>(work: () => Promise<T> | T): Promise<{ ns: number; value: T }> {
  const start = process.hrtime.bigint();
  const value = await work();
  return { ns: Number(process.hrtime.bigint() - start), value };
}
