/** @file The protobuf writer against bytes worked out from the format's documentation. */
import { ProtobufWriter } from '../../../../worker/src/compute/onnx/protobuf.js';

const hex = (writer: ProtobufWriter): string => Buffer.from(writer.finish()).toString('hex');

describe('the protobuf writer', () => {
  test('writes varints as the documentation does: 150 in field 1 is 08 96 01', () => {
    expect(hex(new ProtobufWriter().int(1, 150))).toBe('089601');
  });

  test.each([
    [0, '0800'],
    [127, '087f'],
    [128, '088001'],
    [2 ** 31, '088080808008'],
    [Number.MAX_SAFE_INTEGER, '08ffffffffffffff0f'],
    [-1, '08ffffffffffffffffff01'],
    [-(2 ** 31), '0880808080f8ffffffff01'],
  ])('writes %d', (value, expected) => {
    expect(hex(new ProtobufWriter().int(1, value))).toBe(expected);
  });

  test('writes strings, floats and fields above 15', () => {
    expect(hex(new ProtobufWriter().string(2, 'testing'))).toBe('120774657374696e67');
    expect(hex(new ProtobufWriter().float(2, 1))).toBe('150000803f');
    expect(hex(new ProtobufWriter().int(16, 1))).toBe('800101');
  });

  test('packs lists and nests messages', () => {
    expect(hex(new ProtobufWriter().ints(6, [3, 270, 86942]))).toBe('3206038e029ea705');
    const inner = new ProtobufWriter().int(1, 150);
    expect(hex(new ProtobufWriter().message(3, inner))).toBe('1a03089601');
  });

  test('grows beyond its first buffer without losing a byte', () => {
    const bytes = Uint8Array.from({ length: 5000 }, (_, i) => i % 251);
    const written = new ProtobufWriter().int(1, 1).raw(2, bytes).finish();
    expect(written).toHaveLength(2 + 3 + 5000);
    expect([...written.subarray(5)]).toEqual([...bytes]);
  });
});
