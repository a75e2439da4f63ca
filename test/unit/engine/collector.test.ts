/**
 * @file Sums of what workers answer: the same bits whoever added up which part of the tree, in whatever order and pieces it came,
 * also where gradients travel in fewer bytes. The workers' side is the real one.
 */
import type { LeaseId, RobustRule, SumForm, TensorType, WireFormat } from '@ravenlab/protocol';
import { RemoteProtocolError, WIRE_FORMATS, narrowRow, sizeOf } from '@ravenlab/protocol';
import { aggregate } from '../../../kernel/src/core/aggregate/aggregate.js';
import { leftSize } from '../../../kernel/src/core/cluster/shardTree.js';
import { Collector } from '../../../kernel/src/engine/collector.js';
import type { BoundPlan } from '../../../kernel/src/engine/planView.js';
import { InlineReducer } from '../../../kernel/src/engine/reducer.js';
import { GroupSum } from '../../../worker/src/compute/merge.js';
import { OutputSets } from '../../../worker/src/compute/outputSets.js';
import { KERNELS, makeBench, values } from './lib.js';

const SHARDS = 7;
const TYPES: readonly TensorType[] = [
  { dtype: 'float32', shape: [] },
  { dtype: 'float32', shape: [3, 101] },
  { dtype: 'int32', shape: [5] },
];
/** A loss, a gradient, a count. */
const sumsOf = (wire: WireFormat): SumForm[] => ['float32', wire, 'float32'];

function boundPlan(wire: WireFormat, rule: RobustRule | null): BoundPlan {
  const outputs = TYPES.map((type) => ({ combine: 'sum', axis: 0, type, deliver: false }));
  // The last one is half as large as the others.
  const shards = Array.from({ length: SHARDS }, (_, i) => ({
    ...{ program: 0, offset: 2 * i },
    size: i < SHARDS - 1 ? 2 : 1,
  }));
  // What a collector reads of a plan.
  return {
    plan: { outputs, shards },
    programs: [{ outputTypes: TYPES }],
    sums: sumsOf(wire),
    robust: rule === null ? null : { rule, outputs: [1] },
  } as unknown as BoundPlan;
}

const leaf = (shard: number) => {
  const gradient = values(sizeOf(TYPES[1]?.shape ?? []), 10 + shard);
  return [values(1, shard + 1), gradient, Int32Array.of(shard, 1, 2, 3, 2 ** 31 - 1)];
};

/** What a worker sends for `count` shards from `first` on. */
function answer(wire: WireFormat, first: number, count: number): Uint8Array[] {
  const sets = new OutputSets(TYPES, null);
  const sum = new GroupSum(sumsOf(wire));
  for (let shard = first; shard < first + count; shard++) sum.add(leaf(shard));
  return sets
    .detach(sum.take(), sumsOf(wire))
    .map(({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength));
}

interface Answered {
  readonly wire: WireFormat;
  /** First shard and number of shards of each answer, in order of arrival. */
  readonly groups: readonly (readonly [first: number, count: number])[];
  /** Sent ahead in pieces of this many bytes; null: with DONE. */
  readonly pieceBytes: number | null;
  readonly rule?: RobustRule;
}

function sumOf({ wire, groups, pieceBytes, rule }: Answered): Uint8Array[] {
  const { heap } = makeBench();
  const inline = new InlineReducer(heap.memory, KERNELS());
  const collector = new Collector(boundPlan(wire, rule ?? null), heap, { inline, thread: inline });
  groups.forEach(([first, count], index) => {
    const lease = (index + 1) as LeaseId;
    const outputs = answer(wire, first, count);
    expect(outputs.map(({ byteLength }) => byteLength)).toEqual(collector.expectedBytes(first));
    if (pieceBytes === null) {
      collector.accept(
        first,
        count,
        lease,
        outputs.map((bytes) => [bytes]),
      );
      return;
    }
    outputs.forEach((bytes, output) => {
      for (let at = 0; at < bytes.byteLength; at += pieceBytes) {
        const piece = [bytes.subarray(at, at + pieceBytes)];
        const totalBytes = bytes.byteLength;
        collector.addPiece(first, { lease, output, offsetBytes: at, totalBytes, bytes: piece });
      }
    });
    expect(collector.isStaged(lease, first)).toBe(true);
    collector.accept(first, count, lease, null);
  });
  const result = TYPES.map((_, output) => collector.bytesOf(output).slice());
  collector.close();
  expect(heap.usedBytes).toBe(0);
  return result;
}

/** The gradient's sum written down: rounded at each node of the tree. */
function nodeOf(wire: WireFormat, first: number, size: number): Float32Array {
  const left = size === 1 ? 0 : leftSize(size);
  const node =
    size === 1
      ? Float32Array.from(leaf(first)[1] ?? [])
      : nodeOf(wire, first, left).map(
          (
            (right) => (value: number, i: number) =>
              Math.fround(value + (right[i] ?? NaN))
          )(nodeOf(wire, first + left, size - left)),
        );
  narrowRow(wire)?.round(node);
  return node;
}

const each = Array.from({ length: SHARDS }, (_, i) => [i, 1] as const);
const WAYS: readonly (readonly [name: string, ways: Omit<Answered, 'wire'>])[] = [
  ['one by one', { groups: each, pieceBytes: null }],
  ['from the last to the first', { groups: [...each].reverse(), pieceBytes: null }],
  ['as subtrees', { groups: [[4, 2], [0, 4], [6, 1]], pieceBytes: null }], // prettier-ignore
  ['as other subtrees', { groups: [[2, 2], [4, 1], [6, 1], [0, 2], [5, 1]], pieceBytes: null }], // prettier-ignore
  ['in pieces of odd sizes', { groups: [[0, 4], [4, 2], [6, 1]], pieceBytes: 37 }], // prettier-ignore
];

describe.each(WIRE_FORMATS)('gradients as %s', (wire) => {
  const expected = nodeOf(wire, 0, SHARDS);
  test.each(WAYS)('%s: the bits of the written sum', (_, ways) => {
    const [loss, gradient, count] = sumOf({ wire, ...ways });
    expect(Buffer.from(gradient ?? []).equals(Buffer.from(expected.buffer))).toBe(true);
    const [plain, , plainCount] = sumOf({ wire: 'float32', groups: each, pieceBytes: null });
    expect(loss).toEqual(plain);
    expect(count).toEqual(plainCount);
  });
});

test('a batch that is not cut is a sum of one', () => {
  const { heap } = makeBench();
  const inline = new InlineReducer(heap.memory, KERNELS());
  const whole = boundPlan('bfloat16', null);
  const outputs = whole.plan.outputs.map((output) => ({ ...output, combine: 'first' as const }));
  const plan = { ...whole.plan, outputs, shards: whole.plan.shards.slice(0, 1) };
  const bound: BoundPlan = { ...whole, plan, sums: ['first', 'bfloat16', 'first'] };
  const collector = new Collector(bound, heap, { inline, thread: inline });
  const [loss, gradient, count] = answer('bfloat16', 0, 1);
  const chunks = [loss, gradient, count].map((bytes) => [bytes ?? new Uint8Array(0)]);
  collector.accept(0, 1, 1 as LeaseId, chunks);
  const expected = Buffer.from(nodeOf('bfloat16', 0, 1).buffer);
  expect(Buffer.from(collector.bytesOf(1)).equals(expected)).toBe(true);
  expect(collector.scalarOf(0)).toBe(leaf(0)[0]?.[0]);
  expect(collector.bytesOf(2)).toEqual(count);
});

test('a piece beyond what the format takes is refused', () => {
  const { heap } = makeBench();
  const inline = new InlineReducer(heap.memory, KERNELS());
  const collector = new Collector(boundPlan('bfloat16', null), heap, { inline, thread: inline });
  const wide = new Uint8Array(4 * 303);
  const piece = { lease: 1 as LeaseId, output: 1, offsetBytes: 0, totalBytes: wide.byteLength };
  expect(() => {
    collector.addPiece(0, { ...piece, bytes: [wide] });
  }).toThrow(RemoteProtocolError);
});

describe.each<RobustRule>([
  { kind: 'trimmedMean', trim: 0.2 },
  { kind: 'centeredClip', radius: 5 },
])('$kind', (rule) => {
  const single = WAYS.filter(([, { groups }]) => groups.length === SHARDS);

  test.each(['float32', 'int8'] as const)('gradients as %s: the rule, by shards', (wire) => {
    const shards = each.map(([shard]) => {
      const gradient = Float32Array.from(leaf(shard)[1] ?? []);
      narrowRow(wire)?.round(gradient);
      return [gradient];
    });
    const rows = 2 * SHARDS - 1;
    const scales = each.map(([shard]) => rows / (shard < SHARDS - 1 ? 2 : 1));
    const [expected] = aggregate(rule, shards, scales);
    const [loss, , count] = sumOf({ wire: 'float32', groups: each, pieceBytes: null });
    for (const [, ways] of [...single, ['in pieces', { groups: each, pieceBytes: 37 }] as const]) {
      const parts = sumOf({ wire, rule, ...ways });
      expect(Buffer.from(parts[1] ?? []).equals(Buffer.from(expected!.buffer))).toBe(true);
      // Losses and counts are sums all the same.
      expect([parts[0], parts[2]]).toEqual([loss, count]);
    }
  });

  test('what is given up before all are in gives its memory back', () => {
    const { heap } = makeBench();
    const inline = new InlineReducer(heap.memory, KERNELS());
    const collector = new Collector(boundPlan('float32', rule), heap, { inline, thread: inline });
    for (const shard of [3, 0]) {
      const outputs = answer('float32', shard, 1).map((bytes) => [bytes]);
      collector.accept(shard, 1, (shard + 1) as LeaseId, outputs);
    }
    expect(heap.usedBytes).toBeGreaterThan(0);
    collector.close();
    expect(heap.usedBytes).toBe(0);
  });
});
