/** @file The ring's files on a real file system: what is written comes back, what is half written never does. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { IMAGE_HEAD_BYTES, ImageRing, imageFile } from '../../../kernel/src/engine/imageRing.js';
import type { ImagePart, NamedPart } from '../../../kernel/src/engine/journalMessages.js';

const memory = new Uint8Array(new SharedArrayBuffer(1_024));
const view = ({ ptr, sizeBytes }: ImagePart): Uint8Array => memory.subarray(ptr, ptr + sizeBytes);
const part = (ptr: number, offset: number, name: string): NamedPart => ({
  ptr,
  sizeBytes: 16,
  offset: IMAGE_HEAD_BYTES + offset,
  name,
});

let folder = '';
let ring: ImageRing;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ravenlab-ring-'));
  ring = new ImageRing(folder);
  memory.fill(0);
});
afterEach(() => {
  ring.close();
  rmSync(folder, { recursive: true, force: true });
});

function write(nonce: string, stable: readonly NamedPart[], copies: Uint8Array[] = []): void {
  const placed = copies.map((bytes, index) => ({
    offset: IMAGE_HEAD_BYTES + 64 + 16 * index,
    bytes,
  }));
  ring.write(
    { slot: 0, nonce, sizeBytes: IMAGE_HEAD_BYTES + 128, isSynced: true, stable },
    view,
    placed,
  );
}

test('parts and copies come back into shared memory', () => {
  memory.fill(7, 0, 16);
  write('first', [part(0, 0, 'a')], [new Uint8Array(16).fill(9)]);
  const parts = [part(100, 0, ''), part(200, 64, '')];
  ring.read(0, 'first', parts, view);
  expect([memory[100], memory[115], memory[200]]).toEqual([7, 7, 9]);
});

test('another image than the one that the journal names is refused', () => {
  write('first', [part(0, 0, 'a')]);
  expect(() => {
    ring.read(0, 'other', [], view);
  }).toThrow(/not the one that the journal names/);
});

test('a part is written again only under another name or in another layout', () => {
  memory.fill(1, 0, 16);
  write('first', [part(0, 0, 'a')]);
  memory.fill(2, 0, 16);
  write('second', [part(0, 0, 'a')]);
  expect(readFileSync(join(folder, imageFile(0)))[IMAGE_HEAD_BYTES]).toBe(1);
  write('third', [part(0, 0, 'b')]);
  expect(readFileSync(join(folder, imageFile(0)))[IMAGE_HEAD_BYTES]).toBe(2);
  memory.fill(3, 0, 16);
  write('fourth', [part(0, 0, 'b'), part(0, 16, 'c')]);
  expect(readFileSync(join(folder, imageFile(0)))[IMAGE_HEAD_BYTES]).toBe(3);
});

test('an image that could not be written to its end is void', () => {
  write('first', [part(0, 0, 'a')]);
  const broken = (): Uint8Array => {
    throw new Error('no space left on device');
  };
  const image = { slot: 0, nonce: 'second', sizeBytes: IMAGE_HEAD_BYTES + 128, isSynced: false };
  expect(() => {
    ring.write({ ...image, stable: [part(0, 0, 'z')] }, broken, []);
  }).toThrow('no space');
  for (const nonce of ['first', 'second']) {
    expect(() => {
      ring.read(0, nonce, [], view);
    }).toThrow(/not the one/);
  }
});
