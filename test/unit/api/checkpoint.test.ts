/** @file safetensors: round trip, the exact bytes of the format, and files that lie. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { DataError } from '@ravenlab/protocol';
import { load, manualSeed, nn, optim, save, tensor } from 'ravenlab';
import { decodeSafetensors, encodeSafetensors } from '../../../kernel/src/api/safetensors.js';
import { freshSession } from './lib/oracleSession.js';

let folder: string;
beforeEach(() => {
  freshSession();
  folder = mkdtempSync(join(tmpdir(), 'ravenlab-save-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

function joined(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(Buffer.concat(parts));
}

function withHeader(header: string, body = new Uint8Array()): Uint8Array {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(Buffer.byteLength(header)));
  return joined([length, Buffer.from(header), body]);
}

test('the bytes are those of the format', () => {
  const value = { data: Float32Array.of(1, -2), dtype: 'float32', shape: [2] } as const;
  const bytes = joined(encodeSafetensors(new Map([['w', value]])));
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  expect(length % 8).toBe(0);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length))) as unknown;
  expect(header).toEqual({
    __metadata__: { format: 'pt' },
    w: { dtype: 'F32', shape: [2], data_offsets: [0, 8] },
  });
  expect([...bytes.subarray(8 + length)]).toEqual([0, 0, 128, 63, 0, 0, 0, 192]);
});

test('whatever is written is read back', () => {
  const array = fc.float32Array({ maxLength: 20, noNaN: true });
  fc.assert(
    fc.property(fc.dictionary(fc.string({ minLength: 1 }), array), (values) => {
      const tensors = new Map(
        Object.entries(values)
          .filter(([name]) => name !== '__metadata__')
          .map(([name, data]) => [name, { data, dtype: 'float32', shape: [data.length] } as const]),
      );
      const read = decodeSafetensors('f', joined(encodeSafetensors(tensors, { note: 'x' })));
      expect(read.metadata['note']).toBe('x');
      expect([...read.tensors].map(([name, { data }]) => [name, [...data]])).toEqual(
        [...tensors].map(([name, { data }]) => [name, [...data]]),
      );
    }),
  );
});

test.each([
  ['too short', Uint8Array.of(1, 2), /shorter than its 8-byte length/],
  [
    'a header longer than the file',
    Uint8Array.of(255, 255, 255, 255, 0, 0, 0, 0, 1),
    /states a header of 4294967295 bytes/,
  ],
  ['a header that is not JSON', withHeader('{"a":'), /header that is not JSON/],
  ['a header that is a list', withHeader('[]'), /not a JSON object/],
  [
    'a type we do not read',
    withHeader('{"a":{"dtype":"F64","shape":[],"data_offsets":[0,8]}}', new Uint8Array(8)),
    /holds 'a' as F64/,
  ],
  [
    'offsets beyond the file',
    withHeader('{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}', new Uint8Array(8)),
    /bytes 0 … 16 of 8/,
  ],
  [
    'offsets that do not fit the shape',
    withHeader('{"a":{"dtype":"F32","shape":[1000000],"data_offsets":[0,8]}}', new Uint8Array(8)),
    /its shape takes 4000000/,
  ],
  [
    'a negative extent',
    withHeader('{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', new Uint8Array(8)),
    /not safetensors/,
  ],
])('%s is an error that names the file', (_, bytes, message) => {
  expect(() => decodeSafetensors('w.safetensors', bytes)).toThrow(message);
  expect(() => decodeSafetensors('w.safetensors', bytes)).toThrow(DataError);
});

test('random bytes never do anything but throw a DataError', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      try {
        decodeSafetensors('f', bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(DataError);
      }
    }),
  );
});

async function train(model: nn.Linear, opt: optim.Optimizer, steps: number): Promise<void> {
  for (let i = 0; i < steps; i++) {
    nn.mse(model.forward(tensor([[1, 2]])), tensor([[3]])).backward();
    await opt.step();
  }
}

test('a model and its optimizer go on from a file as if nothing had happened', async () => {
  const path = join(folder, 'new', 'model.safetensors');
  manualSeed(1);
  const model = new nn.Linear(2, 1);
  const optimizer = new optim.Adam(model.parameters(), { lr: 0.1 });
  await train(model, optimizer, 3);
  await save(path, { model, optimizer });
  const other = new nn.Linear(2, 1);
  const otherOptimizer = new optim.Adam(other.parameters());
  await load(path, { model: other, optimizer: otherOptimizer });
  await train(model, optimizer, 3);
  await train(other, otherOptimizer, 3);
  expect(other.weight.toArray()).toEqual(model.weight.toArray());
  expect(otherOptimizer.steps).toBe(6);
});

test('a file of another model, or without the optimizer, is refused', async () => {
  const path = join(folder, 'm.safetensors');
  const model = new nn.Linear(2, 1);
  await save(path, model);
  await expect(load(path, new nn.Linear(3, 1))).rejects.toThrow(/'weight' has shape \[1, 2\]/);
  const optimizer = new optim.SGD(model.parameters());
  await expect(load(path, { model, optimizer })).rejects.toThrow(/holds no optimizer/);
  await expect(load(join(folder, 'x'), model)).rejects.toThrow(/holds m.safetensors/);
  writeFileSync(path, readFileSync(path).subarray(0, -1));
  await expect(load(path, model)).rejects.toThrow(/cut short or damaged/);
});
