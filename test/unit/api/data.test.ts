/** @file Data files and loaders, most of all what happens when they are not as they should be. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { DataError } from '@ravenlab/protocol';
import { data, tensor, zeros } from 'ravenlab';
import { freshSession } from './lib/oracleSession.js';
import type { OracleSession } from './lib/oracleSession.js';

let session: OracleSession;
let folder: string;
beforeEach(() => {
  session = freshSession();
  folder = mkdtempSync(join(tmpdir(), 'ravenlab-data-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

/** An IDX file of unsigned bytes. */
function idxBytes(shape: readonly number[], values: readonly number[]): Uint8Array {
  const header = Buffer.alloc(4 + 4 * shape.length);
  header.writeUInt32BE(0x0800 | shape.length, 0);
  shape.forEach((extent, axis) => header.writeUInt32BE(extent, 4 + 4 * axis));
  return Buffer.concat([header, Uint8Array.from(values)]);
}

describe('idx', () => {
  test('reads images as float32 and labels as int32, gzipped or not', () => {
    const images = data.idx(file('i', gzipSync(idxBytes([2, 1, 2], [0, 255, 51, 102]))), {
      scale: 1 / 255,
    });
    expect([images.dtype, images.shape]).toEqual(['float32', [2, 1, 2]]);
    expect(images.at([1, 0]).toArray()).toEqual([0.2, 0.4].map(Math.fround));
    const labels = data.idx(file('l', idxBytes([3], [7, 8, 9])));
    expect([labels.dtype, labels.toArray()]).toEqual(['int32', [7, 8, 9]]);
  });

  test('a missing file is looked for where the message says, and its neighbours are listed', () => {
    file('train-images.gz', '');
    expect(() => data.idx(join(folder, 'images.gz'))).toThrow(DataError);
    expect(() => data.idx(join(folder, 'images.gz'))).toThrow(
      /no file .*looked at .*holds train-images.gz/,
    );
    expect(() => data.idx(join(folder, 'no', 'x'))).toThrow(/there is no folder/);
    expect(() => data.idx(folder)).toThrow(/cannot read .*EISDIR/);
  });

  test.each([
    ['no bytes', new Uint8Array(), /has 0 bytes, expected at least a 4-byte magic/],
    [
      'another format',
      Buffer.from('PNG and more'),
      /is not an IDX file: it starts with 0x504e4720/,
    ],
    ['a bad type', Uint8Array.of(0, 0, 7, 1), /expected 0x0000TTRR/],
    ['a cut header', Uint8Array.of(0, 0, 8, 3, 0, 0), /its header alone takes 16/],
    [
      'too few values',
      idxBytes([2, 2], [1, 2, 3]),
      /holds 15 bytes, expected 16 for uint8 \[2, 2\]/,
    ],
    ['too many values', idxBytes([1], [1, 2]), /holds 10 bytes, expected 9/],
    ['a size beyond memory', idxBytes([0xffffffff, 0xffffffff], []), /the file is damaged/],
    [
      'cut gzip',
      gzipSync(idxBytes([2], [1, 2])).subarray(0, 20),
      /starts like gzip but does not decompress/,
    ],
  ])('%s is an error that names the file', (_, bytes, message) => {
    const path = file('broken.idx', bytes);
    expect(() => data.idx(path)).toThrow(message);
    expect(() => data.idx(path)).toThrow(/broken\.idx/);
  });
});

describe('csv', () => {
  test('reads quoted fields, numbers and classes', () => {
    const path = file('t.csv', '\uFEFFname,"size, cm",kind\r\n"a ""b""\nc",1.5,x\r\nd,-2e1,y\r\n');
    const table = data.csv(path);
    expect([table.columns, table.length]).toEqual([['name', 'size, cm', 'kind'], 2]);
    expect(table.text('name')).toEqual(['a "b"\nc', 'd']);
    expect(table.toTensor(['size, cm']).toArray()).toEqual([[1.5], [-20]]);
    const { labels, names } = table.classes('kind');
    expect([labels.toArray(), names]).toEqual([
      [0, 1],
      ['x', 'y'],
    ]);
  });

  test.each([
    ['a,b\n1,2\n3\n', /row 3 has 1 fields, expected 2 \(a, b\)/],
    ['', /is empty/],
    ['a\n"open\n', /quote in row 2 that never closes/],
  ])('%j is refused with the row', (content, message) => {
    expect(() => data.csv(file('bad.csv', content))).toThrow(message);
  });

  test('a field that is no number, and a column that is not there, are named', () => {
    const table = data.csv(file('t.csv', 'a,b\n1,2\nx,3\n'));
    expect(() => table.numbers('a')).toThrow(/row 2, column 'a': expected a number, found 'x'/);
    expect(() => table.numbers('c')).toThrow(/no column 'c'; it has a, b/);
  });

  test('can do without a header and with another delimiter', () => {
    const table = data.csv(file('t.tsv', '1\t2\n3\t4'), { header: false, delimiter: '\t' });
    expect(table.toTensor().toArray()).toEqual([
      [1, 2],
      [3, 4],
    ]);
  });
});

test('text is UTF-8 or an error, and a vocabulary goes both ways', () => {
  expect(data.text(file('t.txt', 'héé'))).toBe('héé');
  expect(() => data.text(file('b.txt', Uint8Array.of(0xff, 0xfe)))).toThrow(/not UTF-8/);
  const vocabulary = data.vocabulary('hello');
  expect(vocabulary.size).toBe(4);
  expect(vocabulary.decode(vocabulary.encode('hole'))).toBe('hole');
  expect(() => vocabulary.encode('x')).toThrow(/'x' is not one of its 4 tokens/);
});

describe('a data set', () => {
  const make = (): data.Dataset<readonly [ReturnType<typeof zeros>, ReturnType<typeof zeros>]> =>
    data.dataset(
      tensor(Array.from({ length: 10 }, (_, i) => [i, i])),
      tensor(Int32Array.from({ length: 10 }, (_, i) => i)),
    );

  test('goes to the engine once; batches only name rows', () => {
    const set = make();
    for (const [x, y] of data.loader(set, { batchSize: 4 })) x.sum().add(y.sum()).item();
    expect(session.requests.filter(({ kind }) => kind === 'createData')).toHaveLength(2);
    expect(
      session.executed.flatMap(({ inputs }) => inputs).every(({ kind }) => kind === 'rows'),
    ).toBe(true);
  });

  test('gives every sample once in each pass, in another order, and the same orders again for the same seed', () => {
    const passes = (): number[][] => {
      const loader = data.loader(make(), { batchSize: 3, shuffle: true, seed: 4 });
      return [1, 2].map(() => [...loader].flatMap(([, y]) => y.toArray() as number[]));
    };
    const [first = [], second = []] = passes();
    expect([...first].sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(second).not.toEqual(first);
    expect(passes()).toEqual([first, second]);
  });

  test('keeps rows of its tensors together', () => {
    for (const [x, y] of data.loader(make(), { batchSize: 4, shuffle: true })) {
      expect(x.at([':', 0]).toArray()).toEqual(y.toArray());
    }
  });

  test('has a last batch that is smaller, or none', () => {
    const sizes = (dropLast: boolean): number[] =>
      [...data.loader(make(), { batchSize: 4, dropLast })].map(([x]) => x.shape[0] ?? 0);
    expect(sizes(false)).toEqual([4, 4, 2]);
    expect(sizes(true)).toEqual([4, 4]);
    expect(() => data.loader(make(), { batchSize: 11, dropLast: true })).toThrow(
      /make no batch of 11/,
    );
    expect(() => data.loader(make(), { batchSize: 0 })).toThrow(/positive integer/);
  });

  test('splits into parts that share no sample', () => {
    const [train, test] = data.trainTestSplit(make(), { test: 0.3 });
    expect([train.length, test.length]).toEqual([7, 3]);
    const samples = [train, test].flatMap((part) => part.all()[1].toArray() as number[]);
    expect(new Set(samples).size).toBe(10);
    expect(data.trainTestSplit(make(), { test: 4, seed: null })[1].all()[1].toArray()).toEqual([
      6, 7, 8, 9,
    ]);
    expect(() => data.trainTestSplit(make(), { test: 10 })).toThrow(/leaves some for training/);
  });

  test('needs tensors with equally many rows, and positions that exist', () => {
    expect(() => data.dataset(zeros([2, 3]), zeros([3]))).toThrow(
      /same number of rows \(axis 0\), got \[2, 3\], \[3\]/,
    );
    expect(() => make().batch([10])).toThrow(/no sample 10; the data set has 10/);
  });
});
