/** @file A plan whose gradients are not summed: how its units are leased, what it may hold, and where the rule does not apply. */
import type {
  Aggregate,
  ExecutionId,
  ExecutionPlan,
  ProgramHash,
  StateId,
  StateVersion,
} from '@ravenlab/protocol';
import { ENGINE_LIMITS, encodeProgram } from '@ravenlab/protocol';
import { DataStore } from '../../../kernel/src/engine/dataStore.js';
import { SharedHeap } from '../../../kernel/src/engine/heap.js';
import { bindPlan } from '../../../kernel/src/engine/planView.js';
import { ProgramTable } from '../../../kernel/src/engine/programTable.js';
import { Resources } from '../../../kernel/src/engine/resources.js';
import { StateStore } from '../../../kernel/src/engine/states.js';
import { ProgramBuilder } from '../core/verify/lib.js';

const TYPE = { dtype: 'float32', shape: [6] } as const;
const LOSS = { dtype: 'float32', shape: [] } as const;
const HASH = 'b'.repeat(64) as ProgramHash;
const W = 1 as StateId;
const nothing = (): void => undefined;

/** A step of `count` micro-shards: a loss and a gradient. */
function bound(aggregate: unknown, count = 4) {
  const [resources, heap] = [new Resources(), new SharedHeap(64)];
  const sha256 = (): string => HASH;
  const programs = new ProgramTable({ resources, sha256, amountOf: () => 1n, retire: nothing });
  const states = new StateStore(heap, resources, nothing);
  const b = new ProgramBuilder();
  const w = b.input(TYPE.shape);
  const loss = b.op('sum', [w], { axes: [0], keepDims: false });
  programs.define(HASH, encodeProgram(b.program(loss, b.op('neg', [w]))));
  states.create(W, TYPE, new Uint8Array(24));
  const rule = { name: 'sgd', lr: 1, momentum: 0, dampening: 0, nesterov: false, weightDecay: 0 };
  const plan: ExecutionPlan = {
    programs: [HASH],
    inputs: [{ kind: 'state', stateId: W, version: 0 as StateVersion }],
    outputs: [LOSS, TYPE].map((type) => ({ combine: 'sum', axis: 0, type, deliver: false })),
    shards: Array.from({ length: count }, (_none, at) => ({ program: 0, offset: 2 * at, size: 2 })),
    updates: [{ stateId: W, output: 1, rule: rule as never, optimizerId: 1 }],
    ...{ clips: [], step: null, aggregate: aggregate as Aggregate },
  };
  const stores = { states, data: new DataStore(resources, nothing), run: null };
  return bindPlan(1 as ExecutionId, plan, { ...stores, program: (hash) => programs.get(hash) });
}

const RULE: Aggregate = { kind: 'trimmedMean', trim: 0.25 };

test('each micro-shard comes alone, and the rule is for gradients only', () => {
  const { robust, spec, sums } = bound(RULE);
  expect(robust).toEqual({ rule: RULE, outputs: [1] });
  expect(spec.isMergeable).toBe(false);
  expect(sums).toEqual(['float32', 'float32']);
});

test('sums, and a lone micro-shard, are as ever', () => {
  for (const each of [bound('sum'), bound(undefined), bound(RULE, 1)]) {
    expect([each.robust, each.spec.isMergeable]).toEqual([null, true]);
  }
});

test('what is no rule, and more gradients than may wait for one another, are refused', () => {
  expect(() => bound({ kind: 'median' })).toThrow(/plan refused: .* no rule; expected 'sum', /);
  jest.replaceProperty(ENGINE_LIMITS, 'aggregateBytes', 100);
  expect(() => bound(RULE)).toThrow(/gradients of 4 micro-shards .* 112 bytes, at most 100/);
  jest.restoreAllMocks();
});
