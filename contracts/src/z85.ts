/** @file CURVE keys as a signature has them: Z85 to the 32 bytes that it stands for. */
import type { Hash32 } from '@ravenlab/protocol';
import { ChainError, LIMITS, isCurveKey, z85ToHex } from '@ravenlab/protocol';

/** The 32 bytes of a CURVE key. @throws ChainError when it is not 40 characters of Z85. */
export function curveKeyWord(key: string): Hash32 {
  if (isCurveKey(key)) return `0x${z85ToHex(key)}` as Hash32;
  throw new ChainError(
    `a CURVE key is ${String(LIMITS.curveKeyChars)} characters of Z85; this is none`,
    { fault: 'remote' },
  );
}
