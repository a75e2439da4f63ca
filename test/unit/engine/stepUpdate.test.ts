/** @file What a step of a float16 run leaves behind: all it was to, or nothing but the next scale and its statistics. */
import type { ExecutionPlan, LossScale, StateId, StateUpdate } from '@ravenlab/protocol';
import { LOSS_SCALE, LOSS_SCALE_TYPE } from '@ravenlab/protocol';
import type { Collector } from '../../../kernel/src/engine/collector.js';
import type { Block } from '../../../kernel/src/engine/heap.js';
import { SharedHeap } from '../../../kernel/src/engine/heap.js';
import { Resources } from '../../../kernel/src/engine/resources.js';
import { StateStore } from '../../../kernel/src/engine/states.js';
import { draftsOf, settledPlan, updateBatchOf } from '../../../kernel/src/engine/stepUpdate.js';
import { bytesOf, floatsOf } from '../../../kernel/src/engine/tensorBytes.js';

const TYPE = { dtype: 'float32', shape: [2] } as const;
const [WEIGHT, MEAN, SCALE] = [1, 2, 3] as StateId[];
const RULES: readonly StateUpdate['rule'][] = [
  { name: 'lossScale' },
  {
    name: 'adam',
    ...{ learningRate: 1, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0 },
  },
  { name: 'ema', momentum: 0.1 },
];
const PLAN: ExecutionPlan = {
  ...{ programs: [], inputs: [], outputs: [], shards: [], step: null },
  updates: [SCALE, WEIGHT, MEAN].map((stateId = 0 as StateId, output) => {
    const rule = RULES[output] as StateUpdate['rule'];
    return { stateId, output, rule, optimizerId: output === 1 ? 7 : 0 };
  }),
  clips: [{ optimizerId: 7, kind: 'norm', max: 1 }],
};

/** A step with this many overflows, on a run with this scale. */
function start(overflows: number, scale: LossScale) {
  const heap = new SharedHeap(64);
  const states = new StateStore(heap, new Resources(), () => undefined);
  for (const id of [WEIGHT, MEAN]) states.create(id!, TYPE, new Uint8Array(8));
  states.create(SCALE!, LOSS_SCALE_TYPE, bytesOf(Float32Array.from(scale)));
  const collector = {
    sumAddress: () => null,
    bytesOf: (output: number) =>
      bytesOf(Float32Array.of(...(output === 0 ? [overflows, overflows] : [1, 1]))),
  } as unknown as Collector;
  const step = () => {
    const plan = settledPlan(PLAN, collector);
    const drafts = draftsOf(plan, states);
    const scratch: Block[] = [];
    const { batch } = updateBatchOf(plan, { collector, drafts, scratch }, { heap, states });
    states.commit(drafts);
    return batch;
  };
  const scaleNow = () => [...floatsOf(states.bytesOf(states.latest(SCALE!)))];
  return { states, step, scaleNow };
}

test('a good step updates everything, and counts as one', () => {
  const { states, step, scaleNow } = start(0, [8, 3]);
  const { updates, clips } = step();
  expect(updates.map(({ rule, clip }) => [rule.name, clip])).toEqual([
    ['adam', 0],
    ['ema', -1],
  ]);
  expect(clips).toHaveLength(1);
  expect(scaleNow()).toEqual([8, 4]);
  expect(states.readSlots(WEIGHT!, 7).at(-1)).toEqual(Float32Array.of(1));
});

test('a step that overflowed halves the scale and leaves weights and momenta alone', () => {
  const { states, step, scaleNow } = start(2, [8, 3]);
  const before = states.latest(WEIGHT!);
  const { updates, clips } = step();
  expect(updates.map(({ rule }) => rule.name)).toEqual(['ema']);
  expect(clips).toHaveLength(0);
  expect(scaleNow()).toEqual([4, 0]);
  expect(states.version).toBe(1);
  expect(states.latest(WEIGHT!)).toBe(before);
  expect(states.readSlots(WEIGHT!, 7)).toEqual([]);
});

test('the smallest scale was not to blame, and what is no scale is none', () => {
  expect(start(1, [LOSS_SCALE.min, 0]).step).toThrow(
    /a gradient is NaN or infinite although losses are scaled by no more than 5\.96\d*e-8/,
  );
  expect(start(0, [3, 0]).step).toThrow(/state 3 holds no loss scale/);
});
