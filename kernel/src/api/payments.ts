/** @file Payments of a cell: what is owed and paid, as data; settling it; the receipts as a file. Commands to the engine; no state. */
import { resolve } from 'node:path';
import type { ExportFormat, PaymentsSummary } from '@ravenlab/protocol';
import { DataError, readPanelResult, readPanelState } from '@ravenlab/protocol';
import { writeParts } from './files.js';

type Command = (op: string, args?: Readonly<Record<string, unknown>>) => Promise<unknown>;

/** A file of receipts. */
export interface ExportedReceipts {
  /** Absolute. */
  readonly path: string;
  readonly sizeBytes: number;
}

const FORMATS: Readonly<Record<string, ExportFormat>> = { '.csv': 'csv', '.json': 'json' };

export async function readPayments(command: Command): Promise<PaymentsSummary> {
  const status = (await command('status')) as Readonly<Record<string, unknown>>;
  return readPanelState(status['panel'], 'status.panel').payments;
}

/** @returns number of the transaction, as in `payments().transactions`; null when nothing is owed. */
export async function settlePayments(command: Command): Promise<number | null> {
  return readPanelResult('settle', await command('settle')).transaction;
}

/** @throws DataError for a name that ends in neither .csv nor .json, and when the file cannot be written. */
export async function exportReceipts(command: Command, path: string): Promise<ExportedReceipts> {
  const ending = /\.[^./\\]*$/.exec(path)?.[0].toLowerCase() ?? '';
  const format = FORMATS[ending];
  if (format === undefined) {
    const known = Object.keys(FORMATS).join(' or ');
    throw new DataError(
      `cluster.exportReceipts: '${path}' ends in neither ${known.replace(' or ', ' nor ')}; ` +
        'CSV is the lines that are hashed, JSON adds each lane’s end and newest voucher',
      { meta: { path } },
    );
  }
  const sizeBytes = await writeParts('cluster.exportReceipts', path, parts(command, format));
  return { path: resolve(path), sizeBytes };
}

async function* parts(command: Command, format: ExportFormat): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  let cursor: string | null = null;
  do {
    const answer: unknown = await command('exportLedger', { format, cursor });
    const part = readPanelResult('exportLedger', answer);
    yield encoder.encode(part.text);
    cursor = part.cursor;
  } while (cursor !== null);
}
