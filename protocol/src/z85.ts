/** @file ZeroMQ's text form of 32-byte keys (RFC 32/Z85), as far as telling one and turning it into hex. */
import { LIMITS } from './limits.js';

const DIGITS =
  '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#';
const GROUP = 5;
const BASE = 85;

/** Whether this may be a CURVE key: 40 digits of Z85 whose groups are 32-bit numbers. */
export function isCurveKey(text: string): boolean {
  if (text.length !== LIMITS.curveKeyChars) return false;
  try {
    z85ToHex(text);
    return true;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

/**
 * Lower-case hex of a Z85 text: five characters are four bytes.
 * @throws RangeError when it is not Z85.
 */
export function z85ToHex(text: string): string {
  if (text.length % GROUP !== 0)
    throw new RangeError(`Z85 text has ${String(text.length)} characters`);
  let hex = '';
  for (let at = 0; at < text.length; at += GROUP) {
    let value = 0;
    for (const char of text.slice(at, at + GROUP)) {
      const digit = DIGITS.indexOf(char);
      if (digit < 0) throw new RangeError(`"${char}" is not a Z85 digit`);
      value = value * BASE + digit;
    }
    if (value >= 2 ** 32) throw new RangeError('a Z85 group is above 2^32');
    hex += value.toString(16).padStart(8, '0');
  }
  return hex;
}
