/** @file What the terminal says: a model in, lines out. Pure: no clock, no cursor, no colours of its own. */
import {
  NO_VALUE,
  amountText,
  formatCount,
  formatDuration,
  formatGflops,
  formatRate,
} from '@ravenlab/protocol';
import type { Basis } from '../wallet/checklist.js';
import type { PayView } from '../wallet/payDesk.js';

export type LinkState =
  'starting' | 'connecting' | 'working' | 'reconnecting' | 'draining' | 'left';

export interface WorkerReport {
  readonly device: string;
  readonly backend: string;
  readonly threads: number;
  readonly gflops: number | null;
  /** Where the engine is. */
  readonly cluster: string;
  readonly shortId: string | null;
  readonly link: LinkState;
  readonly queuedUnits: number;
  readonly units: number;
  readonly failed: number;
  readonly samples: number;
  /** Over the last seconds. */
  readonly samplesPerSecond: number;
  readonly unitsPerSecond: number;
  readonly earned: bigint;
  readonly price: string | null;
  /** The deal with the engine; null while there is none: the work is unpaid. */
  readonly pay: PayView | null;
  readonly upMs: number;
  /** Last thing that went wrong, if it still matters. */
  readonly notice: string | null;
}

/** How a piece of text is shown; the terminal decides what that looks like. */
export type Tone = 'plain' | 'dim' | 'strong' | 'good' | 'warn';
export type Paint = (tone: Tone, text: string) => string;

export const plainPaint: Paint = (_tone, text) => text;

const STATES: Readonly<Record<LinkState, { readonly tone: Tone; readonly text: string }>> = {
  starting: { tone: 'dim', text: 'starting' },
  connecting: { tone: 'warn', text: 'connecting' },
  working: { tone: 'good', text: 'ready' },
  reconnecting: { tone: 'warn', text: 'connection lost, trying again' },
  draining: { tone: 'warn', text: 'finishing the units in work, then leaving' },
  left: { tone: 'dim', text: 'left' },
};

const LABEL_WIDTH = 10;

/** Lines of the view, none wider than `columns`. */
export function reportLines(report: WorkerReport, columns: number, paint: Paint): string[] {
  const row = (label: string, tone: Tone, text: string): string => {
    const room = Math.max(0, columns - LABEL_WIDTH - 3);
    const shown = text.length > room ? `${text.slice(0, Math.max(0, room - 1))}…` : text;
    return `  ${paint('dim', label.padEnd(LABEL_WIDTH))}${paint(tone, shown)}`;
  };
  const lines = [
    '',
    `  ${paint('strong', 'RavenLab worker')}${report.shortId === null ? '' : `  ${paint('dim', report.shortId)}`}`,
    '',
    row('device', 'plain', `${report.device} · ${threadsText(report.threads)}`),
    row('backend', 'plain', `${report.backend} · ${formatGflops(report.gflops)}`),
    row('cluster', 'plain', report.cluster),
    row('state', STATES[report.link].tone, stateText(report)),
    '',
    row('units', 'plain', unitsText(report)),
    row('samples', 'plain', samplesText(report)),
    row('earned', 'strong', earnedText(report)),
    ...payRows(report).map(([label, text]) => row(label, 'plain', text)),
    row('uptime', 'plain', formatDuration(report.upMs)),
  ];
  if (report.notice !== null) lines.push('', row('note', 'warn', report.notice));
  lines.push('', `  ${paint('dim', 'Ctrl-C to finish and leave')}`);
  return lines;
}

/** The last words: what this machine did for the cluster. */
export function summaryLine(report: WorkerReport): string {
  const failed = report.failed === 0 ? '' : `, ${formatCount(report.failed)} failed`;
  return (
    `RavenLab worker left ${report.cluster}: ${formatCount(report.units)} units${failed}, ` +
    `${formatCount(report.samples)} samples, earned ${earnedText(report)} in ${formatDuration(report.upMs)}`
  );
}

function threadsText(threads: number): string {
  return threads === 1 ? '1 thread' : `${threads} threads`;
}

function stateText({ link, queuedUnits }: WorkerReport): string {
  const { text } = STATES[link];
  return link === 'working' && queuedUnits > 0 ? `working on ${formatCount(queuedUnits)}` : text;
}

function unitsText({ units, failed, unitsPerSecond }: WorkerReport): string {
  const rate = unitsPerSecond > 0 ? ` · ${formatRate(unitsPerSecond)}/s` : '';
  return `${formatCount(units)}${rate}${failed === 0 ? '' : ` · ${formatCount(failed)} failed`}`;
}

function samplesText({ samples, samplesPerSecond }: WorkerReport): string {
  if (samples === 0) return NO_VALUE;
  const rate = samplesPerSecond > 0 ? ` · ${formatRate(samplesPerSecond)}/s` : '';
  return `${formatCount(samples)}${rate}`;
}

const BASES: Readonly<Record<Basis, string>> = {
  chain: '',
  simulated: ' · simulated chain, worth nothing',
  trusted: ' · not checked on any chain',
};

/** Promised is what a voucher on this disk says; redeemed, what the chain has paid of it. */
function payRows({ pay }: WorkerReport): (readonly [string, string])[] {
  if (pay === null) return [];
  const { address, tokenSymbol, decimals, basis, promised, redeemed, atRisk } = pay;
  const money = (amount: bigint): string => `${amountText(amount, decimals)} ${tokenSymbol}`;
  return [
    ['promised', `${money(promised)} · at risk ${money(atRisk)}${BASES[basis]}`],
    ['redeemed', redeemed === null ? NO_VALUE : money(redeemed)],
    ['wallet', address],
  ];
}

function earnedText({ earned, price, pay }: WorkerReport): string {
  if (pay !== null)
    return `${amountText(earned, pay.decimals)} ${pay.tokenSymbol} (${price ?? NO_VALUE})`;
  const amount = earned.toString().replace(/\B(?=(?:\d{3})+$)/g, ',');
  return price === null ? amount : `${amount} (${price})`;
}
