/** @file Calls of the escrow and of a token as bytes, for a wallet in the browser. Knows five functions, not the ABI format. */

/** `0x…`, hex digits. */
type Hex = string;

/** First four bytes of the hash of each signature; tests hold them against contracts/abi. */
const SELECTORS = {
  /** approve(address,uint256) */
  approve: '0x095ea7b3',
  /** allowance(address,address) */
  allowance: '0xdd62ed3e',
  /** topUp(bytes32,uint256,uint64) */
  topUp: '0xd99b7c90',
  /** refund(bytes32) */
  refund: '0x7249fbb6',
  /** jobs(bytes32) */
  jobs: '0x38ed7cfc',
} as const;

const WORD_DIGITS = 64;

/** Addresses and numbers stand at the right of their word; 32 bytes fill it. */
function word(value: Hex | bigint): string {
  const digits = typeof value === 'bigint' ? value.toString(16) : value.slice(2).toLowerCase();
  const isFit = /^[0-9a-f]*$/.test(digits) && digits.length <= WORD_DIGITS;
  if (!isFit) throw new Error(`calldata: expected at most 32 bytes of hex, got ${String(value)}`);
  return digits.padStart(WORD_DIGITS, '0');
}

function call(name: keyof typeof SELECTORS, ...values: readonly (Hex | bigint)[]): Hex {
  return SELECTORS[name] + values.map(word).join('');
}

/** Lets `spender` take `amount` of the caller's token. */
export function approveCall(spender: Hex, amount: bigint): Hex {
  return call('approve', spender, amount);
}

export function allowanceCall(owner: Hex, spender: Hex): Hex {
  return call('allowance', owner, spender);
}

/** @param expiryS seconds since 1970; the present one, or a later one. */
export function topUpCall(job: Hex, amount: bigint, expiryS: bigint): Hex {
  return call('topUp', job, amount, expiryS);
}

export function refundCall(job: Hex): Hex {
  return call('refund', job);
}

export function jobsCall(job: Hex): Hex {
  return call('jobs', job);
}

/** What the escrow knows of a job. */
export interface JobOnChain {
  /** Lower case; 0x0…0 for a job that it does not know. */
  readonly payer: Hex;
  readonly expiryS: bigint;
  readonly token: Hex;
  readonly free: bigint;
}

/** The words of a call's result; throws when there are not `count` of them. */
export function wordsOf(result: unknown, count: number): readonly bigint[] {
  const pattern = new RegExp(`^0x[0-9a-fA-F]{${String(count * WORD_DIGITS)}}$`);
  if (typeof result !== 'string' || !pattern.test(result)) {
    throw new Error(
      `expected ${String(count)} words from the contract, got ${JSON.stringify(result).slice(0, 80)}`,
    );
  }
  return Array.from({ length: count }, (_, index) => {
    const from = 2 + index * WORD_DIGITS;
    return BigInt(`0x${result.slice(from, from + WORD_DIGITS)}`);
  });
}

/** The result of `jobs(bytes32)`: payer, expiry, signer, token, free, reserved. */
export function readJob(result: unknown): JobOnChain {
  const [payer = 0n, expiryS = 0n, , token = 0n, free = 0n] = wordsOf(result, 6);
  const address = (value: bigint) => `0x${value.toString(16).padStart(40, '0')}`;
  return { payer: address(payer), expiryS, token: address(token), free };
}
