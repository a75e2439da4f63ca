/** @file Numbers, money and durations as a panel or a terminal shows them; pure, English digits. Not a localisation layer. */

/** Shown where a value is not known yet. */
export const NO_VALUE = '–';

/** Three significant digits below 1000, whole numbers above. */
function digits(value: number): string {
  if (value >= 100) return value.toFixed(0);
  if (value >= 10) return trimZeros(value.toFixed(1));
  return trimZeros(value.toFixed(2));
}

function trimZeros(decimal: string): string {
  return decimal.includes('.') ? decimal.replace(/\.?0+$/, '') : decimal;
}

function scaled(value: number, base: number, units: readonly string[]): string {
  let rest = value;
  let index = 0;
  // 999.5 would round up to "1000" of the smaller unit.
  while (rest >= base - base / 2000 && index < units.length - 1) {
    rest /= base;
    index++;
  }
  return `${digits(rest)}${units[index] ?? ''}`;
}

/** `12345` → `12,345`. */
export function formatCount(value: number): string {
  return Math.round(value)
    .toString()
    .replace(/\B(?=(?:\d{3})+$)/g, ',');
}

/** A rate without its unit: `7.25`, `998`, `12.3k`, `4.5M`. */
export function formatRate(perSecond: number): string {
  return scaled(perSecond, 1000, ['', 'k', 'M', 'G']);
}

export function formatGflops(gflops: number | null): string {
  if (gflops === null) return NO_VALUE;
  return scaled(gflops, 1000, [' GFLOP/s', ' TFLOP/s', ' PFLOP/s']);
}

export function formatBytes(sizeBytes: number | null): string {
  if (sizeBytes === null) return NO_VALUE;
  return scaled(sizeBytes, 1024, [' B', ' KiB', ' MiB', ' GiB', ' TiB']);
}

export function formatLatency(latencyMs: number | null): string {
  if (latencyMs === null) return NO_VALUE;
  return latencyMs < 1000 ? `${digits(latencyMs)} ms` : `${digits(latencyMs / 1000)} s`;
}

/** Four significant digits, the width a loss is read at. */
export function formatLoss(loss: number | null): string {
  if (loss === null) return NO_VALUE;
  const size = Math.abs(loss);
  if (size !== 0 && (size < 0.001 || size >= 100_000)) return loss.toExponential(2);
  return loss.toPrecision(4);
}

const MINUTE_S = 60;
const HOUR_S = 3600;
const DAY_S = 86_400;

/** Two units at most: `8 s`, `1 min 05 s`, `3 h 20 min`, `2 d 4 h`. */
export function formatDuration(durationMs: number | null): string {
  if (durationMs === null) return NO_VALUE;
  const s = Math.round(durationMs / 1000);
  if (s < MINUTE_S) return `${String(s)} s`;
  const two = (value: number) => String(value).padStart(2, '0');
  if (s < HOUR_S) return `${String(Math.floor(s / MINUTE_S))} min ${two(s % MINUTE_S)} s`;
  const minutes = Math.floor((s % HOUR_S) / MINUTE_S);
  if (s < DAY_S) return `${String(Math.floor(s / HOUR_S))} h ${two(minutes)} min`;
  return `${String(Math.floor(s / DAY_S))} d ${String(Math.floor((s % DAY_S) / HOUR_S))} h`;
}

/**
 * Base units as coins, rounded down to `maxFraction` digits, so that nobody sees more than there is.
 * An amount that is not zero but rounds to zero shows as `<0.001`.
 */
export function formatAmount(baseUnits: string, decimals: number, maxFraction = 3): string {
  const amount = BigInt(baseUnits);
  const unit = 10n ** BigInt(decimals);
  const shown = Math.min(decimals, maxFraction);
  const fraction = (amount % unit).toString().padStart(decimals, '0').slice(0, shown);
  const whole = (amount / unit).toString().replace(/\B(?=(?:\d{3})+$)/g, ',');
  if (amount > 0n && amount < unit && /^0*$/.test(fraction)) {
    return shown === 0 ? '<1' : `<0.${'1'.padStart(shown, '0')}`;
  }
  return shown === 0 ? whole : `${whole}.${fraction}`;
}

const COIN_PREFIXES = [
  ['', 0],
  ['m', 3],
  ['µ', 6],
  ['n', 9],
  ['p', 12],
] as const;

/** How a group of amounts is shown: the unit to name, and the decimals of that unit for `formatAmount`. */
export interface CoinScale {
  readonly unit: string;
  readonly decimals: number;
}

/** The largest unit of which `baseUnits` is at least one, so that `0.000001961 RVN` reads `1.961 µRVN`. */
export function coinScaleFor(
  baseUnits: string,
  coin: { readonly currency: string; readonly decimals: number },
): CoinScale {
  const { currency, decimals } = coin;
  let scale: CoinScale = { unit: currency, decimals };
  if (baseUnits === '0') return scale;
  for (const [prefix, power] of COIN_PREFIXES) {
    if (power > decimals) break;
    scale = { unit: `${prefix}${currency}`, decimals: decimals - power };
    if (baseUnits.length > scale.decimals) break;
  }
  return scale;
}

/**
 * Coins as a person types them (`12`, `0.5`), in base units. Null for anything else: signs, exponents, separators of thousands,
 * more digits behind the point than the currency has. Nothing is rounded.
 */
export function parseAmount(typed: string, decimals: number): string | null {
  const match = /^(\d{1,60})(?:\.(\d{1,36}))?$/.exec(typed.trim());
  if (match === null) return null;
  const [, whole = '', fraction = ''] = match;
  if (fraction.length > decimals) return null;
  return BigInt(whole + fraction.padEnd(decimals, '0')).toString();
}

/** Sum of decimal base-unit strings. */
export function sumAmounts(amounts: readonly string[]): string {
  let total = 0n;
  for (const amount of amounts) total += BigInt(amount);
  return total.toString();
}

/** For sorting; negative, zero or positive. */
export function compareAmounts(a: string, b: string): number {
  return a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);
}

/** `done` of `total` in [0, 1]; 0 when the total is not known. */
export function fractionOf(done: number, total: number | null): number {
  return total === null || total <= 0 ? 0 : Math.min(1, Math.max(0, done / total));
}

/** Control, zero-width and direction characters can disguise a name or reorder the row around it. */
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** A contributor's chosen name made safe to show beside others; the short id when nothing is left. */
export function displayName(row: {
  readonly name: string | null;
  readonly shortId: string;
}): string {
  const name = row.name?.replace(UNSAFE, '').trim() ?? '';
  return name === '' ? row.shortId : name;
}
