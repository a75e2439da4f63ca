/** @file The namespace `data` of the package: files into tensors, tensors into batches. */
import { readBytes, readText } from '../files.js';
import { tensor } from '../functions.js';
import type { Tensor } from '../tensor.js';
import type { CsvOptions, Table } from './csv.js';
import { parseCsv } from './csv.js';
import type { Dataset, LoaderOptions } from './dataset.js';
import { DataLoader } from './dataset.js';
import type { IdxOptions } from './idx.js';
import { parseIdx } from './idx.js';

export { dataset, DataLoader, Dataset, trainTestSplit } from './dataset.js';
export { Table } from './csv.js';
export { Vocabulary, vocabulary } from './text.js';

/**
 * The tensor of an IDX file, gzipped or not: float32 for images, int32 for labels.
 * @throws DataError when the file is missing or damaged.
 */
export function idx(path: string, options: IdxOptions = {}): Tensor {
  const { data, dtype, shape } = parseIdx(path, readBytes('data.idx', path), options);
  return tensor(data, { dtype, shape });
}

/** A CSV file as a table, gzipped or not. @throws DataError when it is missing or rows differ in length. */
export function csv(path: string, options: CsvOptions = {}): Table {
  return parseCsv(path, readText('data.csv', path), options);
}

/** A text file, gzipped or not. @throws DataError when it is missing or not UTF-8. */
export function text(path: string): string {
  return readText('data.text', path);
}

/** Batches of a data set. */
export function loader<T extends readonly Tensor[]>(
  source: Dataset<T>,
  options: LoaderOptions = {},
): DataLoader<T> {
  return new DataLoader(source, options);
}
