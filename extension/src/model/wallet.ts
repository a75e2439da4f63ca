/**
 * @file Deposits and refunds signed by a wallet in the browser (EIP-1193). No key is ever here: the wallet holds it, shows each
 * transaction and signs. Nothing that the kernel says of a job is trusted: the escrow is asked.
 */
import type { PaymentChain } from '@ravenlab/protocol';
import {
  allowanceCall,
  approveCall,
  jobsCall,
  readJob,
  refundCall,
  topUpCall,
  wordsOf,
} from './calldata.js';
import type { JobOnChain } from './calldata.js';

/** What EIP-1193 asks of a wallet, as far as it is used here. */
export interface WalletProvider {
  request(call: {
    readonly method: string;
    readonly params?: readonly unknown[];
  }): Promise<unknown>;
}

/** A wallet that announced itself (EIP-6963). Its words are its own: show them as text. */
export interface Wallet {
  readonly id: string;
  readonly name: string;
  readonly provider: WalletProvider;
}

export interface WalletOptions {
  readonly wallet: Wallet;
  readonly chain: PaymentChain;
  /** Resolves after the time; for waiting until a transaction is in a block. */
  readonly pause: (durationMs: number) => Promise<void>;
}

const RECEIPT_EVERY_MS = 1_500;
/** Longer than any block takes; then the wallet's own list of activities is the place to look. */
const RECEIPT_TRIES = 400;
/** EIP-3326: the wallet does not know the chain. */
const UNKNOWN_CHAIN = 4902;

/** One job in one wallet. */
export class WalletJob {
  private readonly provider: WalletProvider;
  private readonly options: WalletOptions;

  constructor(options: WalletOptions) {
    this.options = options;
    this.provider = options.wallet.provider;
  }

  /**
   * Asks the wallet for the payer's account on the job's chain, and the escrow for the job.
   * Throws when the account, the chain, the job or its token is another one.
   */
  async connect(): Promise<JobOnChain> {
    const { chain } = this.options;
    const accounts = await this.provider.request({ method: 'eth_requestAccounts' });
    const payer = chain.payer.toLowerCase();
    if (!Array.isArray(accounts) || !accounts.some((account) => sameHex(account, payer))) {
      throw new Error(
        `the job's payer is ${chain.payer}; choose that account in the wallet and try again`,
      );
    }
    await this.switchChain();
    const job = readJob(await this.read(chain.escrow, jobsCall(chain.job)));
    if (job.payer !== payer || job.token !== chain.token.toLowerCase()) {
      throw new Error(
        `the escrow ${chain.escrow} on chain ${String(chain.chainId)} knows the job otherwise than the kernel does ` +
          `(payer ${job.payer}, token ${job.token}): nothing was signed`,
      );
    }
    return job;
  }

  /** Approves exactly what is deposited, if that is needed, then deposits. @returns the hash of the deposit. */
  async deposit(amount: bigint): Promise<string> {
    const { chain } = this.options;
    const { expiryS } = await this.connect();
    const asked = allowanceCall(chain.payer, chain.escrow);
    const [allowed = 0n] = wordsOf(await this.read(chain.token, asked), 1);
    if (allowed < amount) {
      await this.send(chain.token, approveCall(chain.escrow, amount));
    }
    return this.send(chain.escrow, topUpCall(chain.job, amount, expiryS));
  }

  /** Moves the job's expiry. @param expiryS seconds since 1970, later than it is. */
  async extend(expiryS: bigint): Promise<string> {
    const { chain } = this.options;
    await this.connect();
    return this.send(chain.escrow, topUpCall(chain.job, 0n, expiryS));
  }

  /** Takes back what is free and, a day after the expiry, what is reserved. */
  async refund(): Promise<string> {
    const { chain } = this.options;
    await this.connect();
    return this.send(chain.escrow, refundCall(chain.job));
  }

  private async switchChain(): Promise<void> {
    const { chainId, label } = this.options.chain;
    const wanted = `0x${chainId.toString(16)}`;
    if (sameHex(await this.provider.request({ method: 'eth_chainId' }), wanted)) return;
    try {
      await this.provider.request({
        method: 'wallet_switchEthereumChain',
        params: [{ chainId: wanted }],
      });
    } catch (error) {
      if ((error as { readonly code?: unknown }).code !== UNKNOWN_CHAIN) throw error;
      const name = `${label} (chain ${String(chainId)})`;
      throw new Error(`the wallet does not know ${name}; add it there and try again`, {
        cause: error,
      });
    }
    const now = await this.provider.request({ method: 'eth_chainId' });
    if (!sameHex(now, wanted)) {
      throw new Error(`the wallet is on chain ${String(now)}, the job on ${wanted}`);
    }
  }

  private read(to: string, data: string): Promise<unknown> {
    return this.provider.request({ method: 'eth_call', params: [{ to, data }, 'latest'] });
  }

  /** Has it signed and sent, and waits until it is in a block. @returns its hash. */
  private async send(to: string, data: string): Promise<string> {
    const from = this.options.chain.payer;
    const hash = await this.provider.request({
      method: 'eth_sendTransaction',
      params: [{ from, to, data }],
    });
    if (typeof hash !== 'string' || !/^0x[0-9a-fA-F]{64}$/.test(hash)) {
      throw new Error('the wallet gave no transaction hash');
    }
    for (let triesLeft = RECEIPT_TRIES; triesLeft > 0; triesLeft--) {
      const receipt = await this.provider.request({
        method: 'eth_getTransactionReceipt',
        params: [hash],
      });
      if (typeof receipt === 'object' && receipt !== null) {
        const { status } = receipt as { readonly status?: unknown };
        if (status === '0x1') return hash;
        throw new Error(`transaction ${hash} was reverted: nothing has moved`);
      }
      await this.options.pause(RECEIPT_EVERY_MS);
    }
    throw new Error(`transaction ${hash} is in no block yet; look for it in the wallet`);
  }
}

function sameHex(value: unknown, expected: string): boolean {
  return typeof value === 'string' && value.toLowerCase() === expected.toLowerCase();
}
