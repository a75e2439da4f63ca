/** @file What the doctor says, as text: a table of what is available, then why the rest is not and what to do. Pure. */
import type { BackendName } from '@ravenlab/protocol';
import { NO_VALUE, formatBytes, formatGflops } from '@ravenlab/protocol';
import { BACKEND_TABLE } from '../compute/backendTable.js';
import type { Probe } from './probe.js';

export interface DoctorReport {
  readonly probes: readonly Probe[];
  readonly picked: BackendName;
  readonly threads: number;
  /** Machine and Node, as people know them. */
  readonly machine: string;
}

type Available = Extract<Probe, { isAvailable: true }>;

const HEADER = ['', 'backend', 'device', 'memory', 'dtypes', 'speed', 'bandwidth', 'engine'];
const DTYPES = 'float32 int32 bool';
/** What a terminal shows without folding, and what is shown of a library's words. */
const LINE_CHARS = 100;
const REASON_CHARS = 300;

function cellsOf(found: Available, picked: BackendName): string[] {
  const { speed } = found;
  const bandwidth = speed === null ? NO_VALUE : `${speed.gigabytesPerSecond.toPrecision(3)} GB/s`;
  return [
    found.name === picked ? '→' : '',
    found.name,
    found.isSoftware ? `${found.deviceName} (software)` : found.deviceName,
    formatBytes(found.memoryBytes),
    DTYPES,
    formatGflops(speed?.gflops ?? null),
    bandwidth,
    found.version,
  ];
}

function aligned(table: readonly (readonly string[])[]): string[] {
  const widths = HEADER.map((_, column) =>
    Math.max(...table.map((row) => row[column]?.length ?? 0)),
  );
  return table.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

/** Lines of the report. */
export function doctorLines({ probes, picked, threads, machine }: DoctorReport): string[] {
  const available = probes.filter((found) => found.isAvailable);
  const missing = probes.filter((found) => !found.isAvailable);
  const lines = [
    `${machine}, ${threads} thread${threads === 1 ? '' : 's'}`,
    '',
    ...aligned([HEADER, ...available.map((found) => cellsOf(found, picked))]),
    '',
    `--backend auto picks ${picked}.`,
  ];
  if (missing.length > 0) lines.push('', 'Not available here:');
  for (const { name, reason } of missing) {
    lines.push(...wrapped(`  ${name}: `, shortened(reason)));
    lines.push(...wrapped(`      → `, BACKEND_TABLE[name].remedy));
  }
  return lines;
}

/** Words of a library may be a page: its first line says what is wrong. */
function shortened(reason: string): string {
  const [first = ''] = reason.split('\n');
  return first.length > REASON_CHARS ? `${first.slice(0, REASON_CHARS)}…` : first;
}

/** A paragraph: `lead` before its first line, blanks of the same width before the others. Words longer than a line stay whole. */
function wrapped(lead: string, text: string): string[] {
  const lines: string[] = [];
  let line = lead;
  for (const word of text.split(' ')) {
    const isFirst = line.trim() === '' || line === lead;
    if (!isFirst && line.length + 1 + word.length > LINE_CHARS) {
      lines.push(line);
      line = ' '.repeat(lead.length) + word;
    } else {
      line += isFirst ? word : ` ${word}`;
    }
  }
  return [...lines, line];
}
