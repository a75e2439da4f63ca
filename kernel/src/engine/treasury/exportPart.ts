/**
 * @file The ledger's log as a file, part by part: CSV is the lines that are hashed and nothing else; JSON adds where each lane's
 * chain ends, its newest voucher and what settlements of several lanes name. `core/ledger/ledgerLog.ts` reads it.
 */
import type { ExportFormat, PanelResults } from '@ravenlab/protocol';
import {
  PANEL_LIMITS,
  RECEIPT_COLUMNS,
  RavenError,
  VOUCHER_LIMITS,
  encodeVoucher,
} from '@ravenlab/protocol';
import { LEDGER_FORMAT, LEDGER_VERSION } from '../../core/ledger/ledgerLog.js';
import type { ChainStatus } from '../chain/chainService.js';
import type { LogCursor, LogPage } from './payRows.js';

export interface ExportRequest {
  readonly format: ExportFormat;
  /** Null for the first part, then what the part before gave. */
  readonly cursor: string | null;
}

/** As many of the longest lines, quoted, as a part may have characters, less what is around them. */
const LINES_PER_PART = Math.floor(
  (PANEL_LIMITS.exportChars - 4_096) / (VOUCHER_LIMITS.receiptLineChars + 4),
);

/** @throws RavenError for a cursor that no part gave. */
export async function exportPart(
  { format, cursor }: ExportRequest,
  log: (cursor: LogCursor | null, limit: number) => Promise<LogPage>,
  status: ChainStatus,
): Promise<PanelResults['exportLedger']> {
  const from = cursor === null ? null : readCursor(cursor);
  const page = await log(from, LINES_PER_PART);
  const { next } = page;
  return {
    text: format === 'csv' ? csvPart(page, from) : jsonPart(page, from, status),
    cursor: next === null ? null : `${String(next.lane)}:${String(next.n)}`,
  };
}

function readCursor(text: string): LogCursor {
  const match = /^(\d{1,15}):(\d{1,15})$/.exec(text);
  if (match === null) {
    throw new RavenError(
      'ledger',
      `export: '${text.slice(0, 40)}' continues no export; begin with null`,
      { fault: 'user' },
    );
  }
  return { lane: Number(match[1]), n: Number(match[2]) };
}

function csvPart({ lines }: LogPage, from: LogCursor | null): string {
  const head = from === null ? [RECEIPT_COLUMNS.join(',')] : [];
  return [...head, ...lines].map((line) => `${line}\n`).join('');
}

function jsonPart(page: LogPage, from: LogCursor | null, status: ChainStatus): string {
  const { lane, lines, voucher, next, settlements } = page;
  let text = from === null ? `${opening(status)}"lanes":[` : '';
  if (lane === null) return `${text}],\n"settlements":${JSON.stringify(settlements)}}\n`;
  const { job, payee, count, earned, head } = lane;
  const isFirst = (from?.n ?? 0) === 0;
  if (isFirst) {
    const comma = from === null ? '' : ',';
    text += `${comma}\n{"job":"${job}","payee":"${payee}","lines":[`;
  } else if (lines.length > 0) text += ',';
  text += lines.map((line) => `\n"${line}"`).join(',');
  if (next?.n !== 0) return text;
  const newest = voucher === null ? null : encodeVoucher(voucher);
  const end = { count, earned: String(earned), head, voucher: newest };
  return `${text}],${JSON.stringify(end).slice(1)}`;
}

function opening({ network, escrow, token }: ChainStatus): string {
  const about = {
    ...{ format: LEDGER_FORMAT, version: LEDGER_VERSION },
    chainId: network?.chainId ?? null,
    escrow,
    token: token?.address ?? null,
  };
  return `${JSON.stringify(about).slice(0, -1)},\n`;
}
