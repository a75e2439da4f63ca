/** @file Programs of an engine: checked, costed once, and dropped from workers when too many others are in use. */
import type { ProgramHash } from '@ravenlab/protocol';
import { ENGINE_LIMITS, encodeProgram } from '@ravenlab/protocol';
import { createHash } from 'node:crypto';
import type { ResourceId } from '../../../kernel/src/core/cluster/state.js';
import { ProgramTable } from '../../../kernel/src/engine/programTable.js';
import { Resources } from '../../../kernel/src/engine/resources.js';

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

function makeTable() {
  const retired: ResourceId[] = [];
  const table = new ProgramTable({
    resources: new Resources(),
    sha256,
    amountOf: ({ flops }) => BigInt(flops),
    retire: (ids) => retired.push(...ids),
  });
  return { table, retired };
}

function negation(size: number): { hash: ProgramHash; bytes: Uint8Array } {
  const type = { dtype: 'float32', shape: [size] } as const;
  const bytes = encodeProgram({
    inputs: [type],
    nodes: [{ op: 'neg', inputs: [0], params: {}, type }],
    outputs: [1],
  });
  return { hash: sha256(bytes) as ProgramHash, bytes };
}

test('a program is decoded, costed and known by its hash', () => {
  const { table } = makeTable();
  const { hash, bytes } = negation(5);
  table.define(hash, bytes);
  table.define(hash, bytes);
  expect(table.get(hash)).toMatchObject({ flops: 5, amount: 5n, outputTypes: [{ shape: [5] }] });
});

test('bytes of another hash, and bytes that are no program, are refused', () => {
  const { table } = makeTable();
  expect(() => {
    table.define(negation(1).hash, negation(2).bytes);
  }).toThrow('its bytes are');
  const junk = Uint8Array.of(1, 2, 3, 4);
  expect(() => {
    table.define(sha256(junk) as ProgramHash, junk);
  }).toThrow();
  expect(() => table.get(negation(3).hash)).toThrow('define it first');
});

test('when very many are in use, workers drop the one that was not used for the longest time', () => {
  const { table, retired } = makeTable();
  const all = Array.from({ length: ENGINE_LIMITS.residentPrograms + 2 }, (_, i) => negation(i + 1));
  const [first] = all;
  for (const { hash, bytes } of all) {
    table.define(hash, bytes);
    table.use([table.get(hash)], (other) => other === first!.hash);
  }
  // The first one is still running, so the second and third had to go.
  expect(retired).toEqual([all[1]!, all[2]!].map(({ hash }) => table.get(hash).resource.id));
});
