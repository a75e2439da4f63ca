/**
 * @file Turning a voucher into money, without the engine that signed it: by the payee's own transaction, or by anybody's who is handed
 * the request. The escrow pays the payee whoever asks, so a relayer can take nothing.
 */
import type { Account, TransactionReceipt } from '@ravenlab/contracts';
import {
  ChainClient,
  EscrowClient,
  GRACE_S,
  SIMULATED_CHAIN_ID,
  escrowCalls,
  refusalText,
} from '@ravenlab/contracts';
import type { Address, Hash32, SignedVoucher } from '@ravenlab/protocol';
import {
  ChainError,
  WALLET_LIMITS,
  addressReader,
  amountText,
  decodeVoucher,
  encodeVoucher,
  read,
} from '@ravenlab/protocol';

/** A voucher and where it is worth something: all that a stranger needs to redeem it. */
export interface RedeemRequest {
  readonly chainId: number;
  readonly escrow: Address;
  readonly voucher: SignedVoucher;
}

const KIND = 'ravenlab.redeem.1';
const WEI_PER_ETHER = 10n ** 18n;

const readRequest = read.record<{ kind: string } & RedeemRequest>({
  kind: read.oneOf([KIND]),
  chainId: read.count(),
  escrow: addressReader,
  voucher: (value) => {
    const decoded = decodeVoucher(value);
    if (!decoded.ok) throw decoded.error;
    return decoded.value;
  },
});

const readRequests = read.list(readRequest, WALLET_LIMITS.requests);

export function writeRequests(requests: readonly RedeemRequest[]): string {
  const plain = requests.map(({ chainId, escrow, voucher }) => {
    return { kind: KIND, chainId, escrow, voucher: encodeVoucher(voucher) };
  });
  return `${JSON.stringify(plain, null, 2)}\n`;
}

/** @throws ChainError when it is not what `writeRequests` makes. */
export function parseRequests(text: string): readonly RedeemRequest[] {
  try {
    const requests = readRequests(JSON.parse(text), 'requests');
    return requests.map(({ chainId, escrow, voucher }) => ({ chainId, escrow, voucher }));
  } catch (cause) {
    throw notRequest(cause instanceof Error ? cause.message : String(cause), cause);
  }
}

function notRequest(reason: string, cause?: unknown): ChainError {
  return new ChainError(
    `this is no request to redeem (${reason}): expected what 'redeem --relay <file>' writes`,
    { fault: 'user', cause },
  );
}

export interface RedeemOptions {
  readonly rpcUrl: string;
  /** Who sends the transaction and pays its gas: the payee, or a relayer. */
  readonly account: Account;
  /** Sends it even if the gas costs more than it brings. */
  readonly isForced: boolean;
  /** For that comparison: coins of the token for one ether, and the token's decimals. Null: the two cannot be compared. */
  readonly etherPrice: { readonly coins: number; readonly decimals: number } | null;
  readonly sleep?: (ms: number) => Promise<void>;
}

export interface Redeemed {
  /** What this transaction paid; 0 when all was paid before. */
  readonly amount: bigint;
  /** What the lane was paid in all. */
  readonly paid: bigint;
  readonly hash: Hash32 | null;
}

/**
 * Redeems, and waits until a block holds it.
 * @throws ChainError with the contract's own reason, when gas is missing, or when it is not worth its gas.
 */
export async function redeem(request: RedeemRequest, options: RedeemOptions): Promise<Redeemed> {
  const { voucher } = request;
  const chain = await ChainClient.open(options.rpcUrl, request.chainId);
  const escrow = await EscrowClient.at(chain, request.escrow);
  const { paid } = await escrow.lane(voucher.job, voucher.payee);
  const amount = voucher.cumulative - paid;
  if (amount <= 0n) return { amount: 0n, paid, hash: null };
  await checkOpen(escrow, voucher);

  const hash = await send(chain, escrow, { voucher, amount, options });
  const receipt = await mined(chain, hash, options.sleep ?? sleepMs);
  if (!receipt.isSuccess) {
    throw new ChainError(
      `transaction ${hash} was refused in block ${String(receipt.blockNumber)}: ` +
        'somebody may have redeemed meanwhile; look at `earnings`',
    );
  }
  const after = await escrow.lane(voucher.job, voucher.payee);
  return { amount: after.paid - paid, paid: after.paid, hash };
}

async function checkOpen(escrow: EscrowClient, { job }: SignedVoucher): Promise<void> {
  const known = await escrow.job(job);
  if (known === null) {
    throw new ChainError(`the escrow ${escrow.address} knows no job ${job}`, { fault: 'user' });
  }
  const { timestamp } = await escrow.chain.head();
  const closesAt = known.expiry + GRACE_S;
  if (timestamp <= closesAt) return;
  throw new ChainError(
    `job ${job} expired on ${utc(known.expiry)}, and its vouchers were redeemed until ${utc(closesAt)}: what was not ` +
      'is the payer’s again',
  );
}

async function send(
  chain: ChainClient,
  escrow: EscrowClient,
  {
    voucher,
    amount,
    options,
  }: { readonly voucher: SignedVoucher; readonly amount: bigint; readonly options: RedeemOptions },
): Promise<Hash32> {
  const { account } = options;
  const call = {
    from: account.address,
    to: escrow.address,
    data: escrowCalls.redeem(voucher.job, [voucher]),
  };
  const gas = await chain.estimateGas(call).catch((error: unknown) => {
    const reason = refusalText(error);
    if (reason === null) throw error;
    throw new ChainError(`the escrow refuses the voucher: ${reason}`, { cause: error });
  });
  const gasLimit = gas + (gas * BigInt(WALLET_LIMITS.gasMarginPercent)) / 100n;
  const { baseFee, maxFeePerGas, maxPriorityFeePerGas } = await chain.fees();
  const balance = await chain.etherOf(account.address);
  const needed = gasLimit * maxFeePerGas;
  if (balance < needed) {
    throw new ChainError(
      `${account.address} has ${ether(balance)} ether for gas, up to ${ether(needed)} are needed. Send it some, or ` +
        'let somebody else submit it, who can take nothing: redeem --relay <file>',
      { fault: 'user' },
    );
  }
  checkWorth(amount, gas * (baseFee + maxPriorityFeePerGas), chain.chainId, options);
  const nonce = await chain.nonceOf(account.address, 'pending');
  const draft = { ...call, nonce, gasLimit, maxFeePerGas, maxPriorityFeePerGas };
  const { raw, hash } = chain.sign(draft, account);
  await chain.broadcast(raw);
  return hash;
}

/** @param costWei expected, not the most that the transaction may cost */
function checkWorth(
  amount: bigint,
  costWei: bigint,
  chainId: number,
  { isForced, etherPrice }: RedeemOptions,
): void {
  if (isForced || etherPrice === null || chainId === SIMULATED_CHAIN_ID) return;
  const { coins, decimals } = etherPrice;
  // Six digits of the price are more than any price is known to.
  const priceMillionths = BigInt(Math.round(coins * 1e6));
  const cost = (costWei * priceMillionths * 10n ** BigInt(decimals)) / (WEI_PER_ETHER * 1_000_000n);
  if (cost <= amount) return;
  throw new ChainError(
    `the gas costs about ${ether(costWei)} ether, ${amountText(cost, decimals)} at ${String(coins)} coins for one ether; the ` +
      `voucher brings ${amountText(amount, decimals)}. Earn more first, name the right --ether-price, or use --force`,
    { fault: 'user' },
  );
}

async function mined(
  chain: ChainClient,
  hash: Hash32,
  sleep: (ms: number) => Promise<void>,
): Promise<TransactionReceipt> {
  const polls = Math.ceil(WALLET_LIMITS.receiptMs / WALLET_LIMITS.receiptPollMs);
  for (let poll = 0; poll < polls; poll++) {
    const receipt = await chain.receipt(hash);
    if (receipt !== null) return receipt;
    await sleep(WALLET_LIMITS.receiptPollMs);
  }
  throw new ChainError(
    `transaction ${hash} is in no block after ${String(WALLET_LIMITS.receiptMs / 1000)} s: gas may have become dearer. ` +
      'Nothing is lost: redeem again later',
    { retryable: true },
  );
}

function sleepMs(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function ether(wei: bigint): string {
  return amountText(wei, 18);
}

/** '2026-11-22 16:30 UTC'. */
export function utc(seconds: number): string {
  return `${new Date(seconds * 1000).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}
