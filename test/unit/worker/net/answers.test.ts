/** @file Results as messages: each DONE fits the wire's bounds, large outputs go ahead, nothing is lost or said twice. */
import type { ExecutionId, LeaseId, RunMessage } from '@ravenlab/protocol';
import { decodeWorkerMessage, encodeWorkerMessage, joinChunks, LIMITS } from '@ravenlab/protocol';
import type { UnitOutcome } from '../../../../worker/src/compute/computeMessages.js';
import { answersOf } from '../../../../worker/src/net/answers.js';

const runOf = (units: number): RunMessage => ({
  kind: 'run',
  execution: 1 as ExecutionId,
  program: 0,
  leaseMs: 1_000,
  merge: null,
  inputs: [],
  units: Array.from({ length: units }, (_, i) => ({ lease: (100 + i) as LeaseId, shard: i })),
});
const okOf = (unit: number, outputs: readonly Float32Array[]): UnitOutcome => ({
  unit,
  status: 'ok',
  computeUs: 1,
  outputs,
  output: -1,
  error: null,
});

/** Answers after the codec; throws when the engine would refuse one. */
function received(units: number, outputs: readonly Float32Array[]) {
  const outputBytes = outputs.map((output) => output.byteLength);
  const outcomes = Array.from({ length: units }, (_, unit) => okOf(unit, outputs));
  return answersOf({ run: runOf(units), outputBytes }, outcomes).map((message) => {
    const decoded = decodeWorkerMessage(encodeWorkerMessage(message));
    if (!decoded.ok) throw decoded.error;
    return decoded.value;
  });
}

test('many units with many small outputs are told in as many DONE as the bound on segments needs', () => {
  const scalars = Array.from({ length: 100 }, () => Float32Array.of(1));
  const messages = received(1_000, scalars);
  const units = messages.map((message) => (message.kind === 'done' ? message.units.length : 0));
  expect(units).toEqual([655, 345]);
  const leases = messages.flatMap((m) =>
    m.kind === 'done' ? m.units.map(({ lease }) => lease) : [],
  );
  expect(leases).toEqual(Array.from({ length: 1_000 }, (_, i) => 100 + i));
});

test('outputs above the bound go ahead of their DONE, in pieces of a frame', () => {
  const large = new Float32Array(LIMITS.resultAheadBytes / 4 + 3).map((_, i) => i);
  const messages = received(1, [large]);
  expect(messages.map(({ kind }) => kind)).toEqual([
    ...new Array<string>(9).fill('result'),
    'done',
  ]);
  const pieces = messages.flatMap((m) => (m.kind === 'result' ? m.chunks : []));
  const whole = new Uint8Array(large.byteLength);
  for (const piece of pieces) whole.set(joinChunks(piece.bytes), piece.offsetBytes);
  expect(Buffer.compare(whole, new Uint8Array(large.buffer))).toBe(0);
  const [done] = messages.slice(-1);
  expect(done?.kind === 'done' && done.units[0]).toMatchObject({ status: 'ok', outputs: null });
});
