/** @file CURVE keys as a signature has them: Z85 (ZeroMQ RFC 32) to the 32 bytes that it stands for. */
import type { Hash32 } from '@ravenlab/protocol';
import { ChainError } from '@ravenlab/protocol';

const DIGITS =
  '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#';
const KEY_CHARS = 40;
/** Five digits are four bytes. */
const GROUP = 5;

/** The 32 bytes of a CURVE key. @throws ChainError when it is not 40 characters of Z85. */
export function curveKeyWord(key: string): Hash32 {
  let hex = '0x';
  for (let at = 0; at < KEY_CHARS; at += GROUP) {
    let value = 0;
    for (let i = at; i < at + GROUP; i++) value = value * DIGITS.length + digitOf(key, i);
    if (value >= 2 ** 32) refuse();
    hex += value.toString(16).padStart(8, '0');
  }
  return key.length === KEY_CHARS ? (hex as Hash32) : refuse();
}

function digitOf(key: string, index: number): number {
  const digit = index < key.length ? DIGITS.indexOf(key.charAt(index)) : -1;
  return digit < 0 ? refuse() : digit;
}

function refuse(): never {
  throw new ChainError(`a CURVE key is ${String(KEY_CHARS)} characters of Z85; this is none`, {
    fault: 'remote',
  });
}
