/**
 * @file A simulated chain as a test wants it: unlocked accounts, time that stands still until it is moved, calls that
 * return receipts or throw the contract's own error. Not for shipped code, which signs and waits for confirmations.
 */
import { HDNodeWallet, Interface, Mnemonic, getAddress, toBeHex } from 'ethers';
import type { BaseWallet, Log } from 'ethers';
import { startSimulatedChain } from '../../../contracts/src/anvil.js';
import type { SimulatedChain } from '../../../contracts/src/anvil.js';
import { readArtifact } from '../../../contracts/src/artifact.js';
import { Rpc, RpcFailure } from './rpc.js';

/** Anvil's published mnemonic: its accounts are unlocked on the chain, and can sign here. */
const MNEMONIC = 'test test test test test test test test test test test junk';
const ACCOUNTS = 10;
const RECEIPT_POLLS = 2_000;
const POLLS_PER_NUDGE = 200;
const GAS = 16_000_000;
/** Of a transaction that shares its block. */
const GAS_EACH = 2_000_000;
const GAS_PRICE_WEI = 10 ** 10;

/** A contract's refusal: the name of the error and its arguments. */
export class Reverted extends Error {
  readonly reason: string;
  readonly args: readonly unknown[];

  constructor(reason: string, args: readonly unknown[]) {
    super(`reverted with ${reason}(${args.map(String).join(', ')})`);
    this.reason = reason;
    this.args = args;
  }
}

export interface Receipt {
  readonly gasUsed: number;
  readonly logs: readonly Log[];
}

export interface Event {
  readonly name: string;
  readonly args: Readonly<Record<string, unknown>>;
}

export interface SendOptions {
  readonly from?: string;
  readonly gas?: number;
}

interface RawReceipt {
  readonly status: string;
  readonly gasUsed: string;
  readonly contractAddress: string | null;
  readonly transactionIndex: string;
  readonly logs: readonly Log[];
}

const hex = (value: number | bigint): string => `0x${value.toString(16)}`;

const receiptOf = ({ gasUsed, logs }: RawReceipt): Receipt => ({ gasUsed: Number(gasUsed), logs });

/** A contract on a stage. */
export class Deployed {
  readonly address: string;
  readonly iface: Interface;
  private readonly stage: Stage;

  constructor(stage: Stage, address: string, iface: Interface) {
    this.stage = stage;
    this.address = address;
    this.iface = iface;
  }

  /** Sends a transaction. @throws Reverted */
  send(method: string, args: readonly unknown[], options: SendOptions = {}): Promise<Receipt> {
    return this.stage.send(this, this.iface.encodeFunctionData(method, args), options);
  }

  /** Reads; one value, or an object with the names of several. @throws Reverted */
  async view(method: string, args: readonly unknown[] = []): Promise<unknown> {
    const data = this.iface.encodeFunctionData(method, args);
    const result = this.iface.decodeFunctionResult(method, await this.stage.read(this, data));
    return result.length === 1 ? result[0] : result.toObject();
  }

  /** Events of this contract in a receipt, in order. */
  events(receipt: Receipt): Event[] {
    return receipt.logs
      .filter((log) => log.address.toLowerCase() === this.address.toLowerCase())
      .map((log) => {
        const parsed = this.iface.parseLog(log);
        if (parsed === null)
          throw new Error(`an event that the ABI does not know: ${log.topics[0]}`);
        return { name: parsed.name, args: parsed.args.toObject() };
      });
  }
}

export class Stage {
  readonly chain: SimulatedChain;
  readonly rpc: Rpc;
  /** Unlocked, with ether; `wallets[i]` signs for account i. */
  readonly wallets: readonly BaseWallet[];
  private readonly nonces = new Map<string, number>();
  private readonly errors = new Interface(readArtifact('LaneEscrow').abi);

  private constructor(chain: SimulatedChain) {
    this.chain = chain;
    this.rpc = new Rpc(chain.url);
    const mnemonic = Mnemonic.fromPhrase(MNEMONIC);
    this.wallets = Array.from({ length: ACCOUNTS }, (_, index) =>
      HDNodeWallet.fromMnemonic(mnemonic, `m/44'/60'/0'/0/${String(index)}`),
    );
  }

  static async start(chainId = 31_337): Promise<Stage> {
    const stage = new Stage(await startSimulatedChain({ chainId }));
    // Blocks share a timestamp until `setTime`: what a test says about time is exact.
    await stage.rpc.call('anvil_setBlockTimestampInterval', [0]);
    return stage;
  }

  async stop(): Promise<void> {
    this.rpc.close();
    await this.chain.stop();
  }

  account(index: number): string {
    const wallet = this.wallets[index];
    if (wallet === undefined)
      throw new RangeError(`account ${String(index)} of ${String(ACCOUNTS)}`);
    return wallet.address;
  }

  async deploy(name: string, args: readonly unknown[] = []): Promise<Deployed> {
    const artifact = readArtifact(name);
    const iface = new Interface(artifact.abi);
    const data = artifact.bytecode + iface.encodeDeploy(args).slice(2);
    const receipt = await this.transact({ from: this.account(0), data, gas: hex(GAS) });
    if (receipt.contractAddress === null) throw new Error(`${name} has no address`);
    return new Deployed(this, getAddress(receipt.contractAddress), iface);
  }

  async send(contract: Deployed, data: string, { from, gas = GAS }: SendOptions): Promise<Receipt> {
    const sender = from ?? this.account(0);
    const raw = await this.transact({ from: sender, to: contract.address, data, gas: hex(gas) });
    return receiptOf(raw);
  }

  /** Sends transactions that are mined in one block, in this order; the error of each that was refused. */
  async sendAll(
    contract: Deployed,
    calls: readonly { readonly from: string; readonly data: string }[],
  ): Promise<(Receipt | Reverted)[]> {
    await this.rpc.call('evm_setAutomine', [false]);
    const transactions = [];
    for (const [index, { from, data }] of calls.entries()) {
      const nonce = await this.nextNonce(from);
      // The dearest goes first: that is how order is asked for.
      const gasPrice = hex(GAS_PRICE_WEI + calls.length - index);
      const transaction = { from, to: contract.address, data, nonce, gasPrice, gas: hex(GAS_EACH) };
      transactions.push(['eth_sendTransaction', [transaction]] as const);
    }
    const hashes = (await this.rpc.batch(transactions)) as string[];
    await this.rpc.call('evm_mine', []);
    await this.rpc.call('evm_setAutomine', [true]);
    const receipts = await this.rpc.batch(
      hashes.map((hash) => ['eth_getTransactionReceipt', [hash]] as const),
    );
    const refused = hashes.filter((_, i) => Number((receipts[i] as RawReceipt).status) === 0);
    const errors = await this.rpc.batch(
      refused.map((hash) => ['ots_getTransactionError', [hash]] as const),
    );
    const reasons = new Map(refused.map((hash, i) => [hash, this.decode(errors[i] as string)]));
    return hashes.map((hash, i) => {
      const raw = receipts[i] as RawReceipt;
      if (Number(raw.transactionIndex) !== i) throw new Error('the block has another order');
      return reasons.get(hash) ?? receiptOf(raw);
    });
  }

  /** Asked for once: afterwards an account sends only from here. */
  private async nextNonce(account: string): Promise<string> {
    const next =
      this.nonces.get(account) ??
      Number(await this.rpc.call('eth_getTransactionCount', [account, 'latest']));
    this.nonces.set(account, next + 1);
    return hex(next);
  }

  async read(contract: Deployed, data: string): Promise<string> {
    try {
      return (await this.rpc.call('eth_call', [
        { to: contract.address, data },
        'latest',
      ])) as string;
    } catch (error) {
      if (error instanceof RpcFailure && error.data !== undefined) throw this.decode(error.data);
      throw error;
    }
  }

  /** Block time, seconds. */
  async now(): Promise<number> {
    const block = (await this.rpc.call('eth_getBlockByNumber', ['latest', false])) as {
      readonly timestamp: string;
    };
    return Number(block.timestamp);
  }

  /** The block of the next transaction, and those after it, have this time, seconds; it never goes back. */
  async setTime(seconds: number): Promise<void> {
    await this.rpc.call('evm_setNextBlockTimestamp', [seconds]);
    await this.rpc.call('evm_mine', []);
  }

  /** Gives a key's account the code of another one, as its holder can since EIP-7702. */
  async delegate(wallet: BaseWallet, code: Deployed): Promise<void> {
    const { address, chainId, nonce, signature } = wallet.authorizeSync({
      address: code.address,
      chainId: this.chain.chainId,
      nonce: 0,
    });
    const authorization = {
      address,
      chainId: toBeHex(chainId),
      nonce: toBeHex(nonce),
      yParity: toBeHex(signature.yParity),
      r: signature.r,
      s: signature.s,
    };
    const from = this.account(0);
    await this.transact({ type: '0x4', from, to: from, authorizationList: [authorization] });
  }

  async codeAt(address: string): Promise<string> {
    return (await this.rpc.call('eth_getCode', [address, 'latest'])) as string;
  }

  async etherOf(address: string): Promise<bigint> {
    return BigInt((await this.rpc.call('eth_getBalance', [address, 'latest'])) as string);
  }

  private async transact(transaction: Readonly<Record<string, unknown>>): Promise<RawReceipt> {
    const hash = (await this.rpc.call('eth_sendTransaction', [transaction])) as string;
    return this.finished(hash);
  }

  /** The receipt of a transaction that was sent. @throws Reverted */
  async finished(hash: string): Promise<RawReceipt> {
    for (let poll = 0; poll < RECEIPT_POLLS; poll++) {
      const receipt = await this.rpc.call('eth_getTransactionReceipt', [hash]);
      if (receipt === null) {
        // Anvil's automatic mining misses a transaction about once in ten thousand.
        if ((poll + 1) % POLLS_PER_NUDGE === 0) await this.rpc.call('evm_mine', []);
        continue;
      }
      const raw = receipt as RawReceipt;
      if (Number(raw.status) === 1) return raw;
      throw this.decode((await this.rpc.call('ots_getTransactionError', [hash])) as string);
    }
    throw new Error(`transaction ${hash} was not mined`);
  }

  private decode(data: string): Reverted {
    // Out of gas and the like carry no data.
    if (data === '0x') return new Reverted('(no reason)', []);
    const parsed = this.errors.parseError(data);
    if (parsed === null) return new Reverted(data.slice(0, 10), []);
    return new Reverted(parsed.name, [...parsed.args] as unknown[]);
  }
}
