/**
 * @file A chain as the escrow's parties need it: reads, fees, nonces, transactions signed with a key of ours. Every answer is checked
 * before it is believed to have a form; none is believed to be true by that. Sends nothing by itself and keeps nothing.
 */
import { SigningKey, Transaction, toQuantity } from 'ethers';
import type { Address, Hash32 } from '@ravenlab/protocol';
import { CHAIN_LIMITS, ChainError } from '@ravenlab/protocol';
import type { Account } from './keystore.js';
import { Rpc, withoutSecrets } from './rpc.js';

/** A block number, or a name that nodes know. */
export type BlockTag = number | 'latest' | 'pending' | 'finalized';

export interface Block {
  readonly number: number;
  readonly hash: Hash32;
  /** Seconds since 1970. */
  readonly timestamp: number;
  /** Wei; 0 on chains without EIP-1559. */
  readonly baseFee: bigint;
}

export interface Log {
  readonly address: Address;
  readonly topics: readonly string[];
  readonly data: string;
  readonly blockNumber: number;
  readonly blockHash: Hash32;
  readonly transactionHash: Hash32;
  readonly logIndex: number;
}

export interface TransactionReceipt {
  readonly hash: Hash32;
  readonly blockNumber: number;
  readonly blockHash: Hash32;
  readonly isSuccess: boolean;
  readonly gasUsed: bigint;
  /** Of a deployment. */
  readonly contract: Address | null;
}

export interface Call {
  readonly from?: Address;
  /** Null deploys. */
  readonly to: Address | null;
  readonly data: string;
}

export interface Fees {
  readonly maxFeePerGas: bigint;
  readonly maxPriorityFeePerGas: bigint;
}

export interface Draft extends Call, Fees {
  readonly nonce: number;
  readonly gasLimit: bigint;
}

export interface SignedTransaction {
  readonly raw: string;
  readonly hash: Hash32;
}

export class ChainClient {
  readonly rpc: Rpc;
  readonly chainId: number;

  private constructor(rpc: Rpc, chainId: number) {
    this.rpc = rpc;
    this.chainId = chainId;
  }

  /**
   * @param chainId expected; null takes what the node says, for a person who asks what a URL is.
   * @throws ChainError when the node is another chain's; RpcUnreachable when it does not answer.
   */
  static async open(url: string, chainId: number | null): Promise<ChainClient> {
    const rpc = new Rpc(url);
    const actual = count(await rpc.call('eth_chainId', []), 'eth_chainId');
    if (chainId !== null && actual !== chainId) {
      throw new ChainError(
        `${withoutSecrets(url)} is chain ${String(actual)}, expected chain ${String(chainId)}: nothing is signed for ` +
          'another chain than the settings name. Mend the RPC URL or the chain id',
        { fault: 'user' },
      );
    }
    return new ChainClient(rpc, actual);
  }

  async blockNumber(): Promise<number> {
    return count(await this.rpc.call('eth_blockNumber', []), 'eth_blockNumber');
  }

  /** Null when there is none. */
  async block(tag: BlockTag): Promise<Block | null> {
    const answer = await this.rpc.call('eth_getBlockByNumber', [tagged(tag), false]);
    if (answer === null) return null;
    const block = record(answer, 'block');
    const { baseFeePerGas } = block;
    return {
      number: count(block['number'], 'block.number'),
      hash: word(block['hash'], 'block.hash'),
      timestamp: count(block['timestamp'], 'block.timestamp'),
      baseFee: baseFeePerGas === undefined ? 0n : quantity(baseFeePerGas, 'block.baseFeePerGas'),
    };
  }

  /** The newest block. @throws ChainError when the node has none, which no chain has. */
  async head(): Promise<Block> {
    const head = await this.block('latest');
    if (head === null) throw new ChainError('the node has no newest block', { retryable: true });
    return head;
  }

  /** `0x` when there is no code. */
  async codeAt(address: Address): Promise<string> {
    return hexBytes(await this.rpc.call('eth_getCode', [address, 'latest']), 'eth_getCode');
  }

  /** Wei. */
  async etherOf(address: Address): Promise<bigint> {
    return quantity(await this.rpc.call('eth_getBalance', [address, 'latest']), 'eth_getBalance');
  }

  /** How many transactions an account has sent. */
  async nonceOf(address: Address, tag: BlockTag = 'latest'): Promise<number> {
    const answer = await this.rpc.call('eth_getTransactionCount', [address, tagged(tag)]);
    return count(answer, 'eth_getTransactionCount');
  }

  /** @throws RpcRefusal with what the contract reverted with. */
  async read(call: Call, tag: BlockTag = 'latest'): Promise<string> {
    return hexBytes(await this.rpc.call('eth_call', [call, tagged(tag)]), 'eth_call');
  }

  /** @throws RpcRefusal with what the contract would revert with. */
  async estimateGas(call: Call): Promise<bigint> {
    const { from, to, data } = call;
    const request = to === null ? { from, data } : { from, to, data };
    return quantity(await this.rpc.call('eth_estimateGas', [request, 'latest']), 'eth_estimateGas');
  }

  /** What makes a block within the next few: twice the base fee, and the tip that the node suggests. */
  async fees(): Promise<Fees & { readonly baseFee: bigint }> {
    const { baseFee } = await this.head();
    const tip = quantity(
      await this.rpc.call('eth_maxPriorityFeePerGas', []).catch(() => '0x3b9aca00'),
      'eth_maxPriorityFeePerGas',
    );
    return { baseFee, maxFeePerGas: 2n * baseFee + tip, maxPriorityFeePerGas: tip };
  }

  /** Logs of contracts in [from, to]; topics as in eth_getLogs. */
  async logs(filter: {
    readonly address: Address;
    readonly topics: readonly (string | null)[];
    readonly from: number;
    readonly to: number;
  }): Promise<readonly Log[]> {
    const { address, topics, from, to } = filter;
    const range = { address, topics, fromBlock: toQuantity(from), toBlock: toQuantity(to) };
    const answer = await this.rpc.call('eth_getLogs', [range]);
    if (!Array.isArray(answer)) throw malformed('eth_getLogs', 'a list', answer);
    return answer.map(logOf);
  }

  /** Null while no block holds it. */
  async receipt(hash: Hash32): Promise<TransactionReceipt | null> {
    const answer = await this.rpc.call('eth_getTransactionReceipt', [hash]);
    if (answer === null) return null;
    const receipt = record(answer, 'receipt');
    const contract = receipt['contractAddress'] ?? null;
    return {
      hash,
      blockNumber: count(receipt['blockNumber'], 'receipt.blockNumber'),
      blockHash: word(receipt['blockHash'], 'receipt.blockHash'),
      isSuccess: quantity(receipt['status'], 'receipt.status') === 1n,
      gasUsed: quantity(receipt['gasUsed'], 'receipt.gasUsed'),
      contract: contract === null ? null : account(contract, 'receipt.contractAddress'),
    };
  }

  /** Sends what was signed; that the node has it already is not an error. @throws RpcRefusal */
  async broadcast(raw: string): Promise<void> {
    try {
      await this.rpc.call('eth_sendRawTransaction', [raw]);
    } catch (error) {
      // geth, reth and anvil, erigon, nethermind.
      const isKnown = /already (known|imported)|known transaction|alreadyknown/i;
      if (!(error instanceof ChainError) || !isKnown.test(error.message)) throw error;
    }
  }

  /** For this chain alone (EIP-155, EIP-1559). @throws ChainError when it may use more gas than a block's rules let it. */
  sign(draft: Draft, key: Account): SignedTransaction {
    if (draft.gasLimit > CHAIN_LIMITS.transactionGas) {
      throw new ChainError(
        `a transaction would need ${String(draft.gasLimit)} gas, at most ${String(CHAIN_LIMITS.transactionGas)} ` +
          'are possible (EIP-7825): split it',
      );
    }
    const { to, data, nonce, gasLimit, maxFeePerGas, maxPriorityFeePerGas } = draft;
    const transaction = Transaction.from({
      ...{ type: 2, chainId: this.chainId, to, data, nonce, gasLimit },
      ...{ maxFeePerGas, maxPriorityFeePerGas, value: 0n },
    });
    return signedWith(transaction, key);
  }

  /** The same transaction for another price: it takes the place of the one that was signed. */
  replace(raw: string, fees: Fees, key: Account): SignedTransaction {
    const transaction = Transaction.from(raw).clone();
    // What it calls and how much gas it may use stay: an estimate made now would count what the first one is about to change.
    transaction.maxFeePerGas = fees.maxFeePerGas;
    transaction.maxPriorityFeePerGas = fees.maxPriorityFeePerGas;
    return signedWith(transaction, key);
  }
}

function signedWith(transaction: Transaction, key: Account): SignedTransaction {
  transaction.signature = new SigningKey(key.privateKey).sign(transaction.unsignedHash);
  return { raw: transaction.serialized, hash: transaction.hash as Hash32 };
}

function tagged(tag: BlockTag): string {
  return typeof tag === 'number' ? toQuantity(tag) : tag;
}

function malformed(what: string, expected: string, actual: unknown): ChainError {
  const text = JSON.stringify(actual) as string | undefined;
  return new ChainError(
    `the node's ${what} is ${(text ?? 'missing').slice(0, 80)}, expected ${expected}: this is no Ethereum node, or a broken one`,
    { retryable: true },
  );
}

function record(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) throw malformed(what, 'an object', value);
  return value as Readonly<Record<string, unknown>>;
}

function quantity(value: unknown, what: string): bigint {
  if (typeof value === 'string' && /^0x[0-9a-fA-F]{1,64}$/.test(value)) return BigInt(value);
  throw malformed(what, 'a number in hex', value);
}

function count(value: unknown, what: string): number {
  const number = Number(quantity(value, what));
  if (!Number.isSafeInteger(number)) throw malformed(what, 'less than 2^53', value);
  return number;
}

function hexBytes(value: unknown, what: string): string {
  if (typeof value === 'string' && /^0x([0-9a-fA-F]{2})*$/.test(value)) return value;
  throw malformed(what, 'bytes in hex', value);
}

function word(value: unknown, what: string): Hash32 {
  if (typeof value === 'string' && /^0x[0-9a-fA-F]{64}$/.test(value)) {
    return value.toLowerCase() as Hash32;
  }
  throw malformed(what, '32 bytes in hex', value);
}

function account(value: unknown, what: string): Address {
  if (typeof value === 'string' && /^0x[0-9a-fA-F]{40}$/.test(value)) {
    return value.toLowerCase() as Address;
  }
  throw malformed(what, '20 bytes in hex', value);
}

function logOf(value: unknown): Log {
  const log = record(value, 'log');
  const topics = log['topics'];
  if (!Array.isArray(topics)) throw malformed('log.topics', 'a list', topics);
  return {
    address: account(log['address'], 'log.address'),
    topics: topics.map((topic) => word(topic, 'log.topics')),
    data: hexBytes(log['data'], 'log.data'),
    blockNumber: count(log['blockNumber'], 'log.blockNumber'),
    blockHash: word(log['blockHash'], 'log.blockHash'),
    transactionHash: word(log['transactionHash'], 'log.transactionHash'),
    logIndex: count(log['logIndex'], 'log.logIndex'),
  };
}
