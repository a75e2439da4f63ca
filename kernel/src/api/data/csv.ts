/** @file Comma-separated values (RFC 4180): quoted fields, one header row, columns by name. */
import { DataError } from '@ravenlab/protocol';
import { tensor } from '../functions.js';
import type { Tensor } from '../tensor.js';

export interface CsvOptions {
  /** `,` by default; '\t' for tab-separated files. */
  readonly delimiter?: string;
  /** False: the first row is data, and columns are named '0', '1', … */
  readonly header?: boolean;
}

/** Splits text into rows of fields. Quotes may hold delimiters, line breaks and doubled quotes. */
function parseRows(path: string, text: string, delimiter: string): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  let field = '';
  let isQuoted = false;
  let openedAt = 0;
  const endRow = (): void => {
    row.push(field);
    field = '';
    if (row.length > 1 || row[0] !== '') rows.push(row);
    row = [];
  };
  for (let i = 0; i < text.length; i++) {
    const c = text.charAt(i);
    if (isQuoted) {
      if (c !== '"') field += c;
      else if (text.charAt(i + 1) === '"') {
        field += '"';
        i++;
      } else isQuoted = false;
    } else if (c === '"' && field === '') {
      isQuoted = true;
      openedAt = rows.length + 1;
    } else if (c === delimiter) {
      row.push(field);
      field = '';
    } else if (c === '\n') endRow();
    else if (c !== '\r') field += c;
  }
  if (isQuoted) {
    throw new DataError(
      `data.csv: '${path}' has a quote in row ${String(openedAt)} that never closes; double quotes inside a field`,
      { meta: { path, row: openedAt } },
    );
  }
  if (field !== '' || row.length > 0) endRow();
  return rows;
}

/** A table of text; columns become tensors when asked for. */
export class Table {
  readonly columns: readonly string[];
  /** Number of rows. */
  readonly length: number;
  private readonly path: string;
  private readonly rows: readonly (readonly string[])[];

  constructor(path: string, columns: readonly string[], rows: readonly (readonly string[])[]) {
    this.path = path;
    this.columns = columns;
    this.rows = rows;
    this.length = rows.length;
  }

  /** The fields of one column. @throws DataError listing the columns there are. */
  text(column: string): string[] {
    const index = this.columns.indexOf(column);
    if (index < 0) {
      throw new DataError(
        `data.csv: '${this.path}' has no column '${column}'; it has ${this.columns.join(', ')}`,
        { meta: { path: this.path, column } },
      );
    }
    return this.rows.map((row) => row[index] ?? '');
  }

  /** One column as numbers. @throws DataError naming the first row that is not a number. */
  numbers(column: string): Float32Array {
    const fields = this.text(column);
    return Float32Array.from(fields, (field, row) => {
      const value = field.trim() === '' ? NaN : Number(field);
      if (Number.isNaN(value) && field.trim().toLowerCase() !== 'nan') {
        throw new DataError(
          `data.csv: '${this.path}', row ${String(row + 1)}, column '${column}': expected a number, found '${field}'; ` +
            'leave the row out, or read the column with text()',
          { meta: { path: this.path, row: row + 1, column, field } },
        );
      }
      return value;
    });
  }

  /** Number columns side by side: float32 `[rows, columns]`; all columns by default. */
  toTensor(columns: readonly string[] = this.columns): Tensor {
    const lists = columns.map((column) => this.numbers(column));
    const data = new Float32Array(this.length * columns.length);
    lists.forEach((list, column) => {
      list.forEach((value, row) => (data[row * columns.length + column] = value));
    });
    return tensor(data, { shape: [this.length, columns.length] });
  }

  /** A text column as int32 class numbers `[rows]`, in alphabetical order of the classes. */
  classes(column: string): { readonly labels: Tensor; readonly names: readonly string[] } {
    const fields = this.text(column);
    const names = [...new Set(fields)].sort();
    const numbers = new Map(names.map((name, index) => [name, index]));
    return { labels: tensor(Int32Array.from(fields, (field) => numbers.get(field) ?? 0)), names };
  }
}

/** @throws DataError when a row has another number of fields than the header. */
export function parseCsv(path: string, text: string, options: CsvOptions = {}): Table {
  const rows = parseRows(path, text.replace(/^\uFEFF/, ''), options.delimiter ?? ',');
  const [first] = rows;
  if (first === undefined) {
    throw new DataError(`data.csv: '${path}' is empty; expected at least one row`, {
      meta: { path },
    });
  }
  const hasHeader = options.header ?? true;
  const columns = hasHeader ? first.map((name) => name.trim()) : first.map((_, i) => String(i));
  const body = hasHeader ? rows.slice(1) : rows;
  body.forEach((row, index) => {
    if (row.length === columns.length) return;
    const number = index + (hasHeader ? 2 : 1);
    throw new DataError(
      `data.csv: '${path}', row ${String(number)} has ${String(row.length)} fields, expected ${String(columns.length)} ` +
        `(${columns.join(', ')}); quote fields that hold the delimiter`,
      { meta: { path, row: number, expected: columns.length, actual: row.length } },
    );
  });
  return new Table(path, columns, body);
}
