/**
 * @file The settings of a network: where it is, which escrow and token, whose keys. The file names keystores and never holds a key or a
 * password; it is the owner's alone all the same, because an RPC URL may hold a key.
 */
import { dirname, isAbsolute, join } from 'node:path';
import { readPrivate } from '@ravenlab/contracts';
import type { JobId } from '@ravenlab/protocol';
import { CHAIN_LIMITS, ChainError } from '@ravenlab/protocol';
import type { LimitTexts, SettleTexts } from './network.js';
import type { PriceTexts } from './prices.js';
import { DEFAULT_PRICE_TEXTS, rateOf } from './prices.js';

export interface KeySettings {
  /** Absolute. */
  readonly keystore: string;
  readonly passwordFile: string | null;
}

export interface ChainSettings {
  readonly rpcUrl: string;
  /** A second node that has to tell the same; null for none. */
  readonly secondRpcUrl: string | null;
  readonly chainId: number;
  readonly name: string;
  readonly explorerUrl: string | null;
  readonly escrow: string;
  readonly token: string;
  /** Of the token, as the price was made for them; the chain has to agree. */
  readonly decimals: number;
  readonly price: PriceTexts;
  readonly job: JobId | null;
  /** Where its events begin: all older blocks are not read. */
  readonly jobBlock: number;
  readonly signer: KeySettings;
  /** Null: deposits, reservations and settlements are made elsewhere. */
  readonly payer: KeySettings | null;
  /** Null: what the network calls final, where its nodes say so. */
  readonly confirmations: number | null;
  readonly maxFeeGwei: number;
  readonly limits: LimitTexts;
  /** Null: lanes are settled when somebody asks. */
  readonly settle: SettleTexts | null;
}

type Env = Readonly<Record<string, string | undefined>>;

/** @throws ChainError naming the file, the field, and what was expected. */
export function readSettings(file: string, env: Env): ChainSettings {
  const fields = new Fields(file, parsed(file));
  const folder = dirname(file);
  const limits = fields.object('limits');
  const { simulatedDecimals } = CHAIN_LIMITS;
  const decimals = fields.whole('decimals', 0, CHAIN_LIMITS.decimalsMax, simulatedDecimals);
  return {
    rpcUrl: env['RAVENLAB_CHAIN_RPC'] ?? fields.text('rpcUrl'),
    secondRpcUrl: fields.optional('secondRpcUrl'),
    chainId: fields.whole('chainId', 1, Number.MAX_SAFE_INTEGER),
    name:
      fields.optional('name') ??
      `chain ${String(fields.whole('chainId', 1, Number.MAX_SAFE_INTEGER))}`,
    explorerUrl: fields.optional('explorerUrl'),
    escrow: fields.text('escrow'),
    token: fields.text('token'),
    decimals,
    price: priceOf(fields, decimals),
    job: jobOf(fields),
    jobBlock: fields.whole('jobBlock', 0, Number.MAX_SAFE_INTEGER, 0),
    signer: keyOf(fields.required('signer'), folder),
    payer: fields.has('payer') ? keyOf(fields.required('payer'), folder) : null,
    confirmations: fields.has('confirmations')
      ? fields.whole('confirmations', 1, CHAIN_LIMITS.confirmationsMax)
      : null,
    maxFeeGwei: fields.whole('maxFeeGwei', 1, 1_000_000, CHAIN_LIMITS.maxFeeGwei),
    settle: settleOf(fields.object('settle')),
    limits: {
      perContributor: limits?.optional('perContributor') ?? null,
      perHour: limits?.optional('perHour') ?? null,
      perRun: limits?.optional('perRun') ?? null,
    },
  };
}

function parsed(file: string): unknown {
  const text = readPrivate(file, 'chain settings');
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ChainError(`chain settings ${file} are no JSON: ${(cause as Error).message}`, {
      fault: 'user',
      cause,
    });
  }
}

function jobOf(fields: Fields): JobId | null {
  const job = fields.optional('job');
  if (job === null) return null;
  if (/^0x[0-9a-fA-F]{64}$/.test(job)) return job.toLowerCase() as JobId;
  return fields.refuse('job', '0x and 64 hex digits', job);
}

/** @throws ChainError when both sides could not count in it. */
function priceOf(fields: Fields, decimals: number): PriceTexts {
  const price = fields.object('price');
  const texts = {
    perTflop: price?.optional('perTflop') ?? DEFAULT_PRICE_TEXTS.perTflop,
    perTib: price?.optional('perTib') ?? DEFAULT_PRICE_TEXTS.perTib,
  };
  rateOf(texts, decimals);
  return texts;
}

function settleOf(fields: Fields | null): SettleTexts | null {
  if (fields === null) return null;
  const { settleTimesFee, settleHours, settleHoursMax } = CHAIN_LIMITS;
  return {
    etherPrice: fields.text('etherPrice'),
    atLeast: fields.optional('atLeast') ?? '0',
    timesFee: fields.whole('timesFee', 1, 1_000_000, settleTimesFee),
    everyHours: fields.whole('everyHours', 0, settleHoursMax, settleHours),
  };
}

/** Paths are relative to the file that names them. */
function keyOf(fields: Fields, folder: string): KeySettings {
  const at = (path: string): string => (isAbsolute(path) ? path : join(folder, path));
  const passwordFile = fields.optional('passwordFile');
  return {
    keystore: at(fields.text('keystore')),
    passwordFile: passwordFile === null ? null : at(passwordFile),
  };
}

class Fields {
  private readonly file: string;
  private readonly values: Readonly<Record<string, unknown>>;
  private readonly path: string;

  constructor(file: string, value: unknown, path = '') {
    this.file = file;
    this.path = path;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new ChainError(`chain settings ${file}: ${path === '' ? 'all' : path} is no object`, {
        fault: 'user',
      });
    }
    this.values = value as Readonly<Record<string, unknown>>;
  }

  has(name: string): boolean {
    return (this.values[name] ?? null) !== null;
  }

  object(name: string): Fields | null {
    return this.has(name) ? this.required(name) : null;
  }

  required(name: string): Fields {
    const value = this.values[name];
    if (value === undefined) this.refuse(name, 'an object', value);
    return new Fields(this.file, value, `${this.path}${name}.`);
  }

  text(name: string): string {
    return this.optional(name) ?? this.refuse(name, 'text', undefined);
  }

  optional(name: string): string | null {
    const value = this.values[name] ?? null;
    if (value === null) return null;
    return typeof value === 'string' && value !== '' ? value : this.refuse(name, 'text', value);
  }

  whole(name: string, min: number, max: number, otherwise?: number): number {
    const value = this.values[name] ?? otherwise;
    const isFit =
      typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max;
    return isFit
      ? value
      : this.refuse(name, `a whole number from ${String(min)} to ${String(max)}`, value);
  }

  refuse(name: string, expected: string, actual: unknown): never {
    const text = (JSON.stringify(actual) as string | undefined) ?? 'missing';
    throw new ChainError(
      `chain settings ${this.file}: ${this.path}${name} is ${text.slice(0, 80)}, expected ${expected}`,
      { fault: 'user' },
    );
  }
}
