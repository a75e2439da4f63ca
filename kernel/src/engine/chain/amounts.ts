/** @file Amounts as people write them, and as base units. Never through a number: 18 decimals do not fit into one. */
import { ChainError } from '@ravenlab/protocol';

const DECIMAL = /^(\d{1,40})(?:\.(\d{1,40}))?$/;

/**
 * '12.5' of a token with 6 decimals is 12500000.
 * @param what it is, for the message
 * @throws ChainError when it is no such number, or finer than the token.
 */
export function parseAmount(text: string, decimals: number, what: string): bigint {
  const match = DECIMAL.exec(text.trim());
  const whole = match?.[1];
  if (whole === undefined) {
    throw new ChainError(`${what} '${text.slice(0, 40)}': expected a number like 12 or 0.5`, {
      fault: 'user',
    });
  }
  const fraction = match?.[2] ?? '';
  if (fraction.replace(/0+$/, '').length > decimals) {
    throw new ChainError(
      `${what} '${text.slice(0, 40)}' is finer than the token, which has ${String(decimals)} decimals`,
      { fault: 'user' },
    );
  }
  return BigInt(whole + fraction.slice(0, decimals).padEnd(decimals, '0'));
}

/** 12500000 of a token with 6 decimals is '12.5'. */
export function amountText(amount: bigint, decimals: number): string {
  const digits = amount.toString().padStart(decimals + 1, '0');
  const whole = digits.slice(0, digits.length - decimals);
  const fraction = digits.slice(digits.length - decimals).replace(/0+$/, '');
  return fraction === '' ? whole : `${whole}.${fraction}`;
}
