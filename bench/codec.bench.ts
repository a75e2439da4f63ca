/** @file Cost of one RUN and one DONE through the codec against JSON of the same content; programs and random numbers beside it. */
import type {
  DataId,
  DoneMessage,
  ExecutionId,
  LeaseId,
  Program,
  ProgramNode,
  RunMessage,
  StateId,
  StateVersion,
} from '@ravenlab/protocol';
import {
  decodeEngineMessage,
  decodeProgram,
  decodeWorkerMessage,
  encodeEngineMessage,
  encodeProgram,
  encodeWorkerMessage,
  messageBytes,
  uniform,
} from '@ravenlab/protocol';
import { measure } from './lib/measure.js';
import { report } from './lib/report.js';

const UNITS = 64;
const ROWS = 32;
const STATES = 8;
const NODES = 500;
const DRAWS = 1 << 20;

/** A training step as the engine sends it: 8 weights, 32 rows of images and labels a unit, a key. */
const run: RunMessage = {
  kind: 'run',
  execution: 123_456 as ExecutionId,
  program: 3,
  leaseMs: 5_000,
  merge: null,
  inputs: [
    ...Array.from({ length: STATES }, (_, i) => ({
      kind: 'state' as const,
      stateId: i as StateId,
      version: 77 as StateVersion,
    })),
    ...[0, 1].map((id) => ({
      kind: 'rows' as const,
      dataId: id as DataId,
      dataRows: 60_000,
      blockRows: 300,
      perUnit: true,
      indices: Int32Array.from({ length: UNITS * ROWS }, (_, i) => (i * 7919) % 60_000),
    })),
    { kind: 'key', seedLow: 1, seedHigh: 2, step: 3 },
  ],
  units: Array.from({ length: UNITS }, (_, i) => ({ lease: (1e9 + i) as LeaseId, shard: i })),
};

/** What comes back: a loss a unit; gradients are frames in both forms and therefore left out. */
const done: DoneMessage = {
  kind: 'done',
  execution: 123_456 as ExecutionId,
  outputBytes: [4],
  units: Array.from({ length: UNITS }, (_, i) => ({
    lease: (1e9 + i) as LeaseId,
    status: 'ok' as const,
    computeUs: 900 + i,
    outputs: [[new Uint8Array(new Float32Array([i / 7]).buffer)]],
    digest: null,
  })),
};

/** JSON has no typed arrays; plain lists of numbers are its best case. */
const plainRun = {
  ...run,
  inputs: run.inputs.map((input) =>
    input.kind === 'rows' ? { ...input, indices: Array.from(input.indices) } : input,
  ),
};
const plainDone = { ...done, units: done.units.map((unit, i) => ({ ...unit, outputs: [i / 7] })) };

/** A chain of 500 nodes, as an unrolled step has. */
const program: Program = {
  inputs: [{ dtype: 'float32', shape: [64, 64] }],
  nodes: Array.from({ length: NODES }, (_, i): ProgramNode => {
    const type = { dtype: 'float32', shape: [64, 64] } as const;
    const matMul = { transposeA: false, transposeB: true };
    return i % 3 === 0
      ? { op: 'matMul', inputs: [i, i], params: matMul, type }
      : { op: 'add', inputs: [i, i >> 1], params: {}, type };
  }),
  outputs: [NODES],
};
const programBytes = encodeProgram(program);
const key = Int32Array.of(1, 2, 3, 4);
const draws = new Float32Array(DRAWS);

function mustDecode(decoded: { readonly ok: boolean }): void {
  if (!decoded.ok) throw new Error('the bench made a message that does not decode');
}

const results = await measure(
  [
    { name: 'run', run: () => mustDecode(decodeEngineMessage(encodeEngineMessage(run))) },
    { name: 'runJson', run: () => JSON.parse(JSON.stringify(plainRun)) as unknown },
    { name: 'done', run: () => mustDecode(decodeWorkerMessage(encodeWorkerMessage(done))) },
    { name: 'doneJson', run: () => JSON.parse(JSON.stringify(plainDone)) as unknown },
    { name: 'programEncode', run: () => encodeProgram(program) },
    { name: 'programDecode', run: () => mustDecode(decodeProgram(programBytes)) },
    { name: 'programJson', run: () => JSON.parse(JSON.stringify(program)) as unknown },
    { name: 'uniform', run: () => uniform(key, 0, DRAWS, draws) },
    {
      name: 'mathRandom',
      run: () => {
        for (let i = 0; i < DRAWS; i++) draws[i] = Math.random();
      },
    },
  ] as const,
  { samples: 100, warmUp: 50, callsPerSample: 20 },
);

const p50 = (name: keyof typeof results): number => results[name].p50Ns;
/** Draws a second in the fastest sample: a rate is a property of the code, its spread one of the machine's other work. */
const drawsPerSecond = (name: 'uniform' | 'mathRandom'): number =>
  DRAWS / (results[name].minNs / 1e9);

report(
  'codec',
  Object.entries(results).map(([name, summary]) => ({ name, summary })),
  [
    {
      metric: 'runRoundTripNs',
      value: p50('run'),
      baseline: { name: 'JSON', value: p50('runJson') },
      atMost: p50('runJson') / 4,
    },
    {
      metric: 'doneRoundTripNs',
      value: p50('done'),
      baseline: { name: 'JSON', value: p50('doneJson') },
      atMost: p50('doneJson'),
    },
    {
      metric: 'programRoundTripNs',
      value: p50('programEncode') + p50('programDecode'),
      baseline: { name: 'JSON, unverified', value: p50('programJson') },
    },
    {
      metric: 'uniformPerSecond',
      value: drawsPerSecond('uniform'),
      baseline: { name: 'Math.random', value: drawsPerSecond('mathRandom') },
      atLeast: 50e6,
    },
  ],
  {
    units: UNITS,
    rowsPerUnit: ROWS,
    states: STATES,
    programNodes: NODES,
    draws: DRAWS,
    runBytes: messageBytes(encodeEngineMessage(run)),
    runJsonBytes: JSON.stringify(plainRun).length,
    doneBytes: messageBytes(encodeWorkerMessage(done)),
    doneJsonBytes: JSON.stringify(plainDone).length,
  },
);
