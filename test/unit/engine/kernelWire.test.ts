/** @file Messages between kernel and engine: any plain data with typed arrays comes back as it was. */
import fc from 'fast-check';
import { RemoteProtocolError } from '@ravenlab/protocol';
import { decodeKernelMessage, encodeKernelMessage } from '../../../kernel/src/engine/kernelWire.js';
import type { ToEngine, ToKernel } from '../../../kernel/src/engine/kernelWire.js';

const roundTrip = (value: unknown): unknown => {
  const message = { kind: 'cancelEpoch', epoch: 0, value } as ToEngine | ToKernel;
  const frames = encodeKernelMessage(message).map((frame) => Uint8Array.from(frame));
  return (decodeKernelMessage(frames) as unknown as { value: unknown }).value;
};

const array = fc.oneof(
  fc.float32Array({ maxLength: 40, noNaN: true }),
  fc.int32Array({ maxLength: 40 }),
  fc.uint8Array({ maxLength: 40 }),
);
const plain = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.string(),
    fc.double(),
    fc.boolean(),
    fc.constant(null),
    array,
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(
      fc.string().filter((key) => key !== '$'),
      tie('value'),
      { maxKeys: 4 },
    ),
  ),
})).value;

test('any plain data with typed arrays comes back as it was, NaN, -0 and infinities included', () => {
  fc.assert(
    fc.property(plain, (value) => {
      expect(roundTrip(value)).toEqual(value);
    }),
  );
});

test('a long array is one frame, and frames of one array are put together again', () => {
  const data = Float32Array.from({ length: 700_000 }, (_, i) => i);
  const message = { kind: 'request', id: 1, epoch: 2, request: { data } } as never;
  expect(encodeKernelMessage(message).length).toBe(2);
  expect(roundTrip(data)).toEqual(data);
  const header = Buffer.from('{"kind":"x","value":{"$":"i32","first":0,"count":2}}');
  const parts = [Uint8Array.of(1, 0, 0, 0, 2, 0), Uint8Array.of(0, 0)];
  expect(decodeKernelMessage([header, ...parts])).toEqual({
    kind: 'x',
    value: Int32Array.of(1, 2),
  });
});

test('a view into a larger buffer carries its own elements only', () => {
  const view = new Int32Array(Int32Array.of(1, 2, 3, 4).buffer, 4, 2);
  expect(roundTrip(view)).toEqual(Int32Array.of(2, 3));
});

test.each([
  [[]],
  [[new Uint8Array([255, 0])]],
  [[Buffer.from('{"kind":"x","value":{"$":"f32","first":0,"count":2}}')]],
  [[Buffer.from('{"kind":"x","value":{"$":"nope","first":0,"count":0}}')]],
  [[Buffer.from('{"kind":"x","value":{"$":"f32","first":0,"count":1}}'), new Uint8Array(3)]],
])('frames that are no message are refused by a RemoteProtocolError', (frames) => {
  expect(() => decodeKernelMessage(frames)).toThrow(RemoteProtocolError);
});
