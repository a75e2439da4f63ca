/** @file Where a small batch runs: what must have happened for it to run at once, and what sends it to the compute thread. */
import type { ExecutionId, Program, ProgramHash } from '@ravenlab/protocol';
import { RavenError, WORKER_LIMITS, encodeProgram, programCost } from '@ravenlab/protocol';
import type { Backend } from '../../../../worker/src/compute/backend.js';
import type { ComputeBatch, ComputeInput } from '../../../../worker/src/compute/computeMessages.js';
import { QuickRuns, quickRunsOf } from '../../../../worker/src/compute/quickRuns.js';
import type { ProgramInfo } from '../../../../worker/src/core/state.js';

const HASH = 'aa' as ProgramHash;
const { quickAfterRuns, quickBusyUs, quickHeldBytes, quickTensorBytes, quickWindowUs } =
  WORKER_LIMITS;

/** x float32[] → -x. */
const PROGRAM: Program = {
  inputs: [{ dtype: 'float32', shape: [] }],
  nodes: [{ op: 'neg', inputs: [0], params: {}, type: { dtype: 'float32', shape: [] } }],
  outputs: [1],
};
const BYTES = encodeProgram(PROGRAM);

interface World {
  nowUs: number;
  /** What one unit takes. */
  unitUs: number;
  compiled: number;
  disposed: number;
  doesCompile: boolean;
  doesOpen: boolean;
  /** What waits for its turn. */
  readonly turns: (() => void)[];
}

function worldOf(): World {
  return {
    ...{ nowUs: 1_000_000, unitUs: 10, compiled: 0, disposed: 0 },
    ...{ doesCompile: true, doesOpen: true, turns: [] },
  };
}

function backendOf(world: World): Backend {
  return {
    name: 'onnx-cpu',
    deviceName: 'test',
    version: '0',
    compile: () => {
      if (!world.doesCompile) throw new RavenError('program', 'not here');
      world.compiled++;
      return {
        run: ([x]) => {
          world.nowUs += world.unitUs;
          return [Float32Array.of(-(x?.[0] ?? NaN))];
        },
        release: () => undefined,
        dispose: () => undefined,
      };
    },
    dispose: () => world.disposed++,
  };
}

function quickOf(world: World, quickUnits = 4): QuickRuns {
  const quick = new QuickRuns({
    open: () =>
      world.doesOpen ? Promise.resolve(backendOf(world)) : Promise.reject(new Error('no library')),
    nowUs: () => world.nowUs,
    later: (callback) => world.turns.push(callback),
  });
  quick.define(infoOf(HASH, quickUnits), BYTES);
  return quick;
}

const infoOf = (hash: ProgramHash, quickUnits: number): ProgramInfo => ({
  ...{
    hash,
    quickUnits,
    inputs: PROGRAM.inputs,
    outputs: [{ dtype: 'float32', shape: [] }],
    peakBytes: 8,
  },
  work: programCost(PROGRAM),
});

const inline = (value: number): ComputeInput => ({
  kind: 'inline',
  perUnit: false,
  bytes: new Uint8Array(Float32Array.of(value).buffer),
});

function batchOf(input: ComputeInput = inline(3), units = 1, hash = HASH): ComputeBatch {
  const shards = Int32Array.from({ length: units }, (_, i) => i);
  return {
    kind: 'batch',
    batch: 1,
    execution: 1 as ExecutionId,
    hash,
    shards,
    inputs: [input],
    merge: null,
  };
}

const needs =
  (...keys: string[]) =>
  (): string[] =>
    keys;

/** Lets all that waits have its turn. */
async function settle({ turns }: World): Promise<void> {
  for (let i = 0; i < 5; i++) await Promise.resolve();
  for (let turn = turns.shift(); turn !== undefined; turn = turns.shift()) turn();
}

/** Brings the program until it is compiled. */
async function warmUp(quick: QuickRuns, world: World): Promise<void> {
  for (let i = 0; i < 2 * quickAfterRuns; i++) {
    quick.run(batchOf(), needs());
    await settle(world);
  }
}

async function warm(world: World, quickUnits = 4): Promise<QuickRuns> {
  const quick = quickOf(world, quickUnits);
  await warmUp(quick, world);
  return quick;
}

describe('quick runs', () => {
  test('compile a program that came often enough, after the batch that made it so, and run it from then on', async () => {
    const world = worldOf();
    const quick = quickOf(world);
    for (let i = 0; i < quickAfterRuns; i++) expect(quick.run(batchOf(), needs())).toBeNull();
    await settle(world);
    for (let i = 0; i < quickAfterRuns; i++) {
      expect(quick.run(batchOf(), needs())).toBeNull();
      expect(world.compiled).toBe(0);
    }
    await settle(world);
    expect(world.compiled).toBe(1);
    const outcomes = quick.run(batchOf(inline(3), 2), needs());
    expect(outcomes?.map(({ status, outputs }) => [status, outputs[0]?.[0]])).toEqual([
      ['ok', -3],
      ['ok', -3],
    ]);
  });

  test('leave large programs and large batches alone', async () => {
    const world = worldOf();
    expect((await warm(world)).run(batchOf(inline(3), 5), needs())).toBeNull();
    const large = worldOf();
    expect((await warm(large, 0)).run(batchOf(), needs())).toBeNull();
    expect(large.compiled).toBe(0);
  });

  test('need every tensor: small ones are kept until they are forgotten', async () => {
    const world = worldOf();
    const quick = await warm(world);
    const batch = batchOf({ kind: 'state', key: 's1@1' });
    expect(quick.run(batch, needs('s1@1'))).toBeNull();
    const bytes = new Uint8Array(Float32Array.of(7).buffer);
    quick.put('s1@1', bytes);
    // The original is moved to the compute thread.
    structuredClone(bytes, { transfer: [bytes.buffer] });
    expect(quick.run(batch, needs('s1@1'))?.[0]?.outputs[0]?.[0]).toBe(-7);
    quick.forget(['s1@1', 's2@1']);
    expect(quick.run(batch, needs('s1@1'))).toBeNull();
    quick.put('s1@1', new Uint8Array(4));
    quick.forgetAll();
    expect(quick.run(batch, needs('s1@1'))).toBeNull();
  });

  test('have what came before the backend was open', async () => {
    const world = worldOf();
    const quick = quickOf(world);
    quick.put('s1@1', new Uint8Array(Float32Array.of(5).buffer));
    await warmUp(quick, world);
    const outcomes = quick.run(batchOf({ kind: 'state', key: 's1@1' }), needs('s1@1'));
    expect(outcomes?.[0]?.outputs[0]?.[0]).toBe(-5);
  });

  test('keep no tensor above the bound of one, and none beyond the bound of all', async () => {
    const quick = await warm(worldOf());
    quick.put('large', new Uint8Array(quickTensorBytes + 1));
    expect(quick.run(batchOf(), needs('large'))).toBeNull();
    const fitting = quickHeldBytes / quickTensorBytes;
    for (let i = 0; i <= fitting; i++) quick.put(`s${String(i)}`, new Uint8Array(quickTensorBytes));
    expect(quick.run(batchOf(), needs(`s${String(fitting - 1)}`))).not.toBeNull();
    expect(quick.run(batchOf(), needs(`s${String(fitting)}`))).toBeNull();
    quick.forget(['s0']);
    quick.put('again', new Uint8Array(quickTensorBytes));
    expect(quick.run(batchOf(), needs('again'))).not.toBeNull();
  });

  test('take no more than their share of the time', async () => {
    const world = worldOf();
    const quick = await warm(world);
    world.nowUs += quickWindowUs;
    world.unitUs = quickBusyUs;
    expect(quick.run(batchOf(), needs())).not.toBeNull();
    expect(quick.run(batchOf(), needs())).toBeNull();
    world.nowUs += quickWindowUs;
    expect(quick.run(batchOf(), needs())).not.toBeNull();
  });

  test('give up a program that does not compile, and forget one that is dropped', async () => {
    const world = worldOf();
    world.doesCompile = false;
    const refused = await warm(world);
    world.doesCompile = true;
    await warmUp(refused, world);
    expect([refused.run(batchOf(), needs()), world.compiled]).toEqual([null, 0]);
    const dropped = await warm(world);
    dropped.forgetProgram(HASH);
    expect(dropped.run(batchOf(), needs())).toBeNull();
  });

  test('forget a program that is dropped between its last batch and its compilation', async () => {
    const world = worldOf();
    const quick = await warm(world);
    const other = 'bb' as ProgramHash;
    quick.define(infoOf(other, 1), BYTES);
    for (let i = 0; i < quickAfterRuns; i++) quick.run(batchOf(inline(1), 1, other), needs());
    quick.forgetProgram(other);
    await settle(world);
    expect(world.compiled).toBe(1);
  });

  test('stay away where the backend does not open, or opens too late', async () => {
    const world = worldOf();
    world.doesOpen = false;
    expect((await warm(world)).run(batchOf(), needs())).toBeNull();
    const late = worldOf();
    const quick = quickOf(late);
    for (let i = 0; i < quickAfterRuns; i++) quick.run(batchOf(), needs());
    quick.close();
    await settle(late);
    expect(late.disposed).toBe(1);
  });

  test('are for light backends only', () => {
    expect(quickRunsOf('onnx-cpu')).not.toBeNull();
    expect(quickRunsOf('tfjs-cpu')).toBeNull();
  });
});
