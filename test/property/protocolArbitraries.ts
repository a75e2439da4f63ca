/** @file Random valid programs and messages for the property tests of the protocol. */
import fc from 'fast-check';
import type {
  Address,
  BlobChunk,
  Chunks,
  DataId,
  DoneUnit,
  EngineId,
  EngineToWorker,
  ExecutionId,
  Hash32,
  JobId,
  LeaseId,
  OpName,
  Program,
  ProgramHash,
  ProgramNode,
  RunInput,
  RunMessage,
  StateId,
  StateVersion,
  TensorType,
  UpdateRule,
  WireError,
  WorkerId,
  WorkerToEngine,
} from '@ravenlab/protocol';
import {
  BACKENDS,
  BYE_REASONS,
  byteSizeOf,
  DTYPES,
  ERROR_CODES,
  LIMITS,
  OP_NAMES,
  SUM_FORMS,
  VOUCHER_LIMITS,
} from '@ravenlab/protocol';
import type { OpSample } from '../unit/protocol/opSamples.js';
import { OP_SAMPLES } from '../unit/protocol/opSamples.js';

const sameType = (a: TensorType, b: TensorType): boolean =>
  a.dtype === b.dtype && a.shape.join() === b.shape.join();

interface Choice {
  readonly op: OpName;
  /** Which sample of the op, and which of the fitting values each operand reads; taken modulo what there is. */
  readonly sample: number;
  readonly operands: readonly number[];
}

/** A program of worked examples: each operand reads an earlier value of its type, or a new input. */
function programOf(choices: readonly Choice[], outputs: readonly number[]): Program {
  const inputs: TensorType[] = [];
  const picks = choices.map(({ op, sample, operands }) => {
    const list = OP_SAMPLES[op] as readonly OpSample[];
    return { op, operands, sample: list[sample % list.length]! };
  });
  // Inputs come first in value order, so that their number must be known before the first node is placed.
  const reads = picks.map(({ op, operands, sample }, node) =>
    sample.inputs.map((type, i) => {
      const earlier = picks
        .slice(0, node)
        .flatMap((pick, n) => (sameType(pick.sample.type, type) ? [n] : []));
      const choice = operands[i] ?? 0;
      if (op !== 'randomUniform' && earlier.length > 0 && choice % 3 > 0) {
        return { node: earlier[choice % earlier.length]! };
      }
      const known = inputs.findIndex((input) => sameType(input, type));
      if (known >= 0 && choice % 2 > 0) return { input: known };
      inputs.push(type);
      return { input: inputs.length - 1 };
    }),
  );
  const nodes: ProgramNode[] = picks.map(({ op, sample }, n) => ({
    op,
    inputs: reads[n]!.map((read) => ('input' in read ? read.input : inputs.length + read.node)),
    params: sample.params,
    type: sample.type,
  }));
  const values = inputs.length + nodes.length;
  return { inputs, nodes, outputs: [...new Set(outputs.map((output) => output % values))] };
}

export const programs: fc.Arbitrary<Program> = fc
  .tuple(
    fc.array(
      fc.record({
        op: fc.constantFrom(...OP_NAMES),
        sample: fc.nat(10),
        operands: fc.array(fc.nat(100), { maxLength: 3 }),
      }),
      { minLength: 1, maxLength: 40 },
    ),
    fc.array(fc.nat(1000), { minLength: 1, maxLength: 5 }),
  )
  .map(([choices, outputs]) => programOf(choices, outputs));

// ---------------------------------------------------------------- pieces of messages

const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const natural = fc.nat(2 ** 31 - 1);
const wide = fc.maxSafeNat();
const branded = <T>(arbitrary: fc.Arbitrary<number | string>): fc.Arbitrary<T> =>
  arbitrary as unknown as fc.Arbitrary<T>;
const stateId = branded<StateId>(natural);
const version = branded<StateVersion>(natural);
const dataId = branded<DataId>(natural);
const lease = branded<LeaseId>(wide);
const execution = branded<ExecutionId>(wide);
const hexOf = (digits: number) =>
  fc
    .array(fc.constantFrom(...'0123456789abcdef'.split('')), {
      minLength: digits,
      maxLength: digits,
    })
    .map((all) => all.join(''));
const hash32 = branded<Hash32>(hexOf(64).map((digits) => `0x${digits}`));
const address = branded<Address>(hexOf(40).map((digits) => `0x${digits}`));
const job = branded<JobId>(hash32);
const laneUnits = fc.bigInt({ min: 0n, max: VOUCHER_LIMITS.laneAmount });
const signature = fc.record({ r: hash32, vs: hash32 });
/** Every digit, and no group above 2^32. */
const curveKey = fc
  .array(fc.constantFrom(...'0123456789abcdefXYZ.-:+=^!/*?&<>()[]{}@%$'.split('')), {
    minLength: LIMITS.curveKeyChars,
    maxLength: LIMITS.curveKeyChars,
  })
  .map((all) => all.map((digit, at) => (at % 5 === 0 ? '0' : digit)).join(''));
const signedVoucher = fc.record({
  job,
  payee: address,
  cumulative: laneUnits,
  seq: fc.maxSafeNat(),
  ledgerHead: hash32,
  r: hash32,
  vs: hash32,
});
const programIndex = fc.nat(LIMITS.programsPerConnection - 1);
const textOf = (maxLength: number) =>
  fc
    .string({ maxLength: Math.min(maxLength, 40), unit: 'grapheme' })
    .filter((s) => s.length <= maxLength);

/** Lengths around the borders of packing and cutting, and small ones. */
const segmentBytes = fc.oneof(
  { weight: 8, arbitrary: fc.nat(40) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      LIMITS.packBelowBytes - 1,
      LIMITS.packBelowBytes,
      LIMITS.packBelowBytes + 1,
    ),
  },
);

/** Bytes cut at random places, as a sender may hold them. */
const chunksOf = (bytes: number): fc.Arbitrary<Chunks> =>
  fc
    .tuple(fc.integer({ min: 0, max: 255 }), fc.array(fc.nat(bytes), { maxLength: 2 }))
    .map(([seed, cuts]) => {
      const all = new Uint8Array(bytes);
      for (let i = 0; i < bytes; i++) all[i] = i * 31 + seed;
      const borders = [0, ...cuts.sort((a, b) => a - b), bytes];
      return borders.slice(1).map((end, i) => all.subarray(borders[i], end));
    });

const tensorType: fc.Arbitrary<TensorType> = fc.record({
  dtype: fc.constantFrom(...DTYPES),
  shape: fc.array(fc.nat(5), { maxLength: 4 }),
});

const wireError: fc.Arbitrary<WireError> = fc.record({
  code: fc.constantFrom(...ERROR_CODES),
  message: textOf(LIMITS.errorChars),
  fault: fc.constantFrom('user', 'local', 'remote'),
  retryable: fc.boolean(),
});

const stateRef = fc.record({ stateId, version });
const blockRef = fc.record({ dataId, block: natural });
const refs = <T>(arbitrary: fc.Arbitrary<T>) => fc.array(arbitrary, { maxLength: 5 });

const geometry = fc.record({
  dataId,
  dataRows: fc.integer({ min: 1, max: 1000 }),
  blockRows: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
});

const runInput = (units: number): fc.Arbitrary<RunInput> =>
  fc.oneof(
    stateRef.map((ref) => ({ kind: 'state' as const, ...ref })),
    fc.tuple(geometry, fc.boolean(), fc.nat(9)).chain(([g, perUnit, rows]) =>
      fc
        .array(fc.nat(g.dataRows - 1), {
          minLength: perUnit ? rows * units : rows,
          maxLength: perUnit ? rows * units : rows,
        })
        .map((indices) => ({
          kind: 'rows' as const,
          ...g,
          perUnit,
          indices: Int32Array.from(indices),
        })),
    ),
    geometry.map((g) => ({ kind: 'data' as const, ...g })),
    fc.tuple(tensorType, fc.boolean()).chain(([type, perUnit]) =>
      fc
        .array(chunksOf(byteSizeOf(type)), {
          minLength: perUnit ? units : 1,
          maxLength: perUnit ? units : 1,
        })
        .map((values) => ({ kind: 'inline' as const, type, perUnit, values })),
    ),
    fc.record({ kind: fc.constant('key' as const), seedLow: int32, seedHigh: int32, step: int32 }),
  );

/** Powers of two that add up to `units`, drawn from the left. */
const merge = (units: number): fc.Arbitrary<RunMessage['merge']> =>
  fc.option(
    fc.record({
      groups: fc.infiniteStream(fc.nat(3)).map((draws) => {
        const groups: number[] = [];
        for (let left = units; left > 0; left -= groups[groups.length - 1] ?? left) {
          const most = Math.floor(Math.log2(left));
          groups.push(2 ** Math.min(most, draws.next().value as number));
        }
        return groups;
      }),
      sums: fc.array(fc.constantFrom(...SUM_FORMS), { minLength: 1, maxLength: 4 }),
    }),
  );

const run = fc
  .array(fc.record({ lease, shard: natural }), { minLength: 1, maxLength: 6 })
  .chain((units) =>
    fc.record({
      kind: fc.constant('run' as const),
      execution,
      program: programIndex,
      leaseMs: natural,
      inputs: fc.array(runInput(units.length), { maxLength: 5 }),
      units: fc.constant(units),
      merge: merge(units.length),
    }),
  );

const piece = fc.tuple(segmentBytes, wide).chain(([bytes, where]) =>
  fc.record({
    offsetBytes: fc.constant(where % 2 ** 31),
    totalBytes: fc.constant((where % 2 ** 31) + bytes + (where % 7)),
    bytes: chunksOf(bytes),
  }),
);

const blobChunk: fc.Arbitrary<BlobChunk> = fc.oneof(
  fc.tuple(stateRef, piece).map(([ref, p]) => ({ kind: 'state' as const, ...ref, ...p })),
  fc.tuple(blockRef, piece).map(([ref, p]) => ({ kind: 'block' as const, ...ref, ...p })),
);

const real = fc.double({ noNaN: true });
const rule: fc.Arbitrary<UpdateRule> = fc.oneof(
  fc.record({
    name: fc.constant('sgd' as const),
    ...{ learningRate: real, momentum: real, dampening: real, weightDecay: real },
    nesterov: fc.boolean(),
  }),
  fc.record({
    name: fc.constantFrom('adam' as const, 'adamw' as const),
    ...{ learningRate: real, beta1: real, beta2: real, epsilon: real, weightDecay: real },
  }),
  fc.record({ name: fc.constant('ema' as const), momentum: real }),
  fc.record({ name: fc.constant('assign' as const) }),
);

const advance = fc
  .array(fc.record({ kind: fc.constantFrom('norm' as const, 'value' as const), max: real }), {
    maxLength: 3,
  })
  .chain((clips) =>
    fc.record({
      kind: fc.constant('advance' as const),
      execution,
      clips: fc.constant(clips),
      updates: fc.array(
        fc.record({
          state: stateRef,
          output: fc.nat({ max: LIMITS.programOutputs - 1 }),
          rule,
          ...{ optimizerId: natural, stepsDone: natural, slotsOf: execution },
          slots: fc.array(stateRef, { maxLength: 2 }),
          clip: fc.integer({ min: -1, max: clips.length - 1 }),
        }),
        { minLength: 1, maxLength: 5 },
      ),
    }),
  );

const done = fc.array(segmentBytes, { minLength: 1, maxLength: 4 }).chain((outputBytes) => {
  const common = { lease, computeUs: natural };
  const unit: fc.Arbitrary<DoneUnit> = fc.oneof(
    fc.record({
      ...common,
      status: fc.constant('ok' as const),
      outputs: fc.option(fc.tuple(...outputBytes.map(chunksOf))),
      digest: fc.option(hash32),
    }),
    fc.record({
      ...common,
      status: fc.constant('nonFinite' as const),
      output: fc.nat(outputBytes.length - 1),
    }),
    fc.record({ ...common, status: fc.constant('cancelled' as const) }),
    fc.record({ ...common, status: fc.constant('failed' as const), error: wireError }),
  );
  return fc.record({
    kind: fc.constant('done' as const),
    execution,
    outputBytes: fc.constant(outputBytes),
    units: fc.array(unit, { minLength: 1, maxLength: 6 }),
  });
});

const error = fc.record({ kind: fc.constant('error' as const), error: wireError });
const bye = fc.record({
  kind: fc.constant('bye' as const),
  reason: fc.constantFrom(...BYE_REASONS),
  message: textOf(LIMITS.errorChars),
});
const engineId = branded<EngineId>(hexOf(16));
const workerId = branded<WorkerId>(hexOf(64));
const hash = branded<ProgramHash>(hexOf(64));

/** One arbitrary for each kind, so that a test can say which kinds it has seen. */
export const ENGINE_MESSAGES: {
  readonly [K in EngineToWorker['kind']]: fc.Arbitrary<Extract<EngineToWorker, { kind: K }>>;
} = {
  welcome: fc.record({
    kind: fc.constant('welcome' as const),
    engineId,
    workerId,
    shortId: fc.string({ minLength: 1, maxLength: 20 }),
    heartbeatMs: natural,
    timeoutMs: natural,
    creditWindowBytes: wide,
    chunkBytes: fc.integer({ min: 65_536, max: LIMITS.frameBytes }),
    price: textOf(LIMITS.priceChars),
  }),
  program: fc.integer({ min: 1, max: 20_000 }).chain((bytes) =>
    fc.record({
      kind: fc.constant('program' as const),
      index: programIndex,
      hash,
      bytes: chunksOf(bytes),
    }),
  ),
  run,
  blob: fc.record({
    kind: fc.constant('blob' as const),
    chunks: fc.array(blobChunk, { minLength: 1, maxLength: 6 }),
  }),
  advance,
  keep: fc.record({
    kind: fc.constant('keep' as const),
    execution,
    states: fc.array(stateRef, { minLength: 1, maxLength: 5 }),
  }),
  cancel: fc.record({
    kind: fc.constant('cancel' as const),
    executions: refs(execution),
    leases: refs(lease),
  }),
  drop: fc.record({
    kind: fc.constant('drop' as const),
    programs: refs(programIndex),
    states: refs(stateRef),
    data: refs(dataId),
    blocks: refs(blockRef),
  }),
  ping: fc.record({ kind: fc.constant('ping' as const), seq: natural, sentMs: wide }),
  meter: fc.record({
    kind: fc.constant('meter' as const),
    committedUnits: wide,
    earnedUnits: fc.bigInt({ min: 0n, max: 2n ** 256n }),
  }),
  challenge: fc.record({
    kind: fc.constant('challenge' as const),
    nonce: hash32,
    expiry: wide,
    chainId: wide,
    escrow: address,
    serverKey: curveKey,
  }),
  terms: fc.record({
    kind: fc.constant('terms' as const),
    chainId: wide,
    escrow: address,
    job,
    payer: address,
    signer: address,
    token: address,
    tokenSymbol: textOf(LIMITS.symbolChars),
    decimals: fc.nat(LIMITS.tokenDecimals),
    expiry: wide,
    cap: laneUnits,
    paid: laneUnits,
    perGflop: laneUnits,
    perMib: laneUnits,
    holdbackUnits: fc.nat(LIMITS.holdbackUnits),
    serverSignature: signature,
  }),
  voucher: fc.record({
    kind: fc.constant('voucher' as const),
    voucher: signedVoucher,
    lines: fc.array(textOf(VOUCHER_LIMITS.receiptLineChars), { maxLength: 5 }),
  }),
  error,
  bye,
};

export const WORKER_MESSAGES: {
  readonly [K in WorkerToEngine['kind']]: fc.Arbitrary<Extract<WorkerToEngine, { kind: K }>>;
} = {
  hello: fc.record({
    kind: fc.constant('hello' as const),
    workerId,
    token: textOf(LIMITS.tokenChars),
    incarnation: wide,
    name: textOf(LIMITS.nameChars),
    capabilities: fc.record({
      backend: fc.constantFrom(...BACKENDS),
      device: textOf(LIMITS.deviceChars),
      threads: fc.nat(LIMITS.workerThreads),
      memoryBytes: wide,
      gflops: fc.double({ min: 0, max: 1e9, noNaN: true }).map((x) => x + 0),
      dtypes: fc.subarray([...DTYPES]),
      bitClass: textOf(LIMITS.bitClassChars),
    }),
    payee: fc.option(address),
    held: fc.option(
      fc.record({ engineId, programs: refs(hash), states: refs(stateRef), blocks: refs(blockRef) }),
    ),
  }),
  need: fc.record({
    kind: fc.constant('need' as const),
    programs: refs(programIndex),
    states: refs(stateRef),
    blocks: refs(blockRef),
  }),
  result: fc.record({
    kind: fc.constant('result' as const),
    chunks: fc.array(
      fc
        .tuple(lease, fc.nat(LIMITS.programOutputs - 1), piece)
        .map(([l, output, p]) => ({ lease: l, output, ...p })),
      { minLength: 1, maxLength: 6 },
    ),
  }),
  done,
  making: fc.record({ kind: fc.constant('making' as const), execution }),
  unmade: fc.record({ kind: fc.constant('unmade' as const), execution }),
  credit: fc.record({ kind: fc.constant('credit' as const), consumedBytes: wide }),
  pong: fc.record({
    kind: fc.constant('pong' as const),
    seq: natural,
    sentMs: wide,
    queuedUnits: natural,
    busyMs: natural,
    heldBytes: wide,
  }),
  identify: fc.record({
    kind: fc.constant('identify' as const),
    signature,
    clientKey: curveKey,
  }),
  accept: fc.record({ kind: fc.constant('accept' as const), job }),
  voucherAck: fc.record({ kind: fc.constant('voucherAck' as const), job, seq: wide }),
  presented: fc.record({
    kind: fc.constant('presented' as const),
    voucher: fc.option(signedVoucher),
  }),
  error,
  bye,
};
