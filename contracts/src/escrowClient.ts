/**
 * @file A LaneEscrow on a chain: what it holds, what it says no with, and the calls that change it as data to be sent. Checks that the
 * code at the address is the escrow's before anything is read. Holds no key.
 */
import { Interface, ZeroAddress, getAddress } from 'ethers';
import type { Address, Hash32, JobId, SignedVoucher } from '@ravenlab/protocol';
import { ChainError } from '@ravenlab/protocol';
import { isCodeOf, readArtifact } from './artifact.js';
import type { BlockTag, Call, ChainClient, Log } from './chainClient.js';
import { RpcRefusal } from './rpc.js';

export interface JobOnChain {
  readonly payer: Address;
  readonly signer: Address;
  readonly token: Address;
  /** Block time, seconds. */
  readonly expiry: number;
  readonly free: bigint;
  readonly reserved: bigint;
}

export interface LaneState {
  readonly cap: bigint;
  readonly paid: bigint;
  /** Counts the changes of `cap`. */
  readonly nonce: number;
}

export interface TokenInfo {
  readonly address: Address;
  readonly symbol: string;
  readonly decimals: number;
}

/** An event of the escrow; `values` by the names of the contract. */
export interface EscrowEvent {
  readonly name: string;
  readonly job: JobId;
  readonly values: Readonly<Record<string, unknown>>;
  readonly log: Log;
}

/** Of the contract: how long after `expiry` vouchers are still paid. */
export const GRACE_S = 86_400;

const ESCROW = readArtifact('LaneEscrow');
const TOKEN = new Interface([
  'function decimals() view returns (uint8)',
  'function symbol() view returns (string)',
  'function balanceOf(address) view returns (uint256)',
  'function allowance(address, address) view returns (uint256)',
  'function approve(address, uint256) returns (bool)',
  'function mint(address, uint256)',
]);
const iface = new Interface(ESCROW.abi);

const lower = (address: unknown): Address => String(address).toLowerCase() as Address;

export class EscrowClient {
  readonly chain: ChainClient;
  readonly address: Address;

  private constructor(chain: ChainClient, address: Address) {
    this.chain = chain;
    this.address = address;
  }

  /** @throws ChainError when what stands there is not this escrow. */
  static async at(chain: ChainClient, address: Address): Promise<EscrowClient> {
    const code = await chain.codeAt(address);
    if (code === '0x') {
      throw new ChainError(
        `there is no contract at ${address} on chain ${String(chain.chainId)}: expected a LaneEscrow. Is it the right ` +
          'chain? npm run chain -- deploy makes one',
        { fault: 'user' },
      );
    }
    if (!isCodeOf(ESCROW, code)) {
      throw new ChainError(
        `the contract at ${address} on chain ${String(chain.chainId)} is not the LaneEscrow of this version: no money ` +
          'is trusted to it',
        { fault: 'user' },
      );
    }
    return new EscrowClient(chain, address);
  }

  /** Null when there is no such job. */
  async job(id: JobId, tag: BlockTag = 'latest'): Promise<JobOnChain | null> {
    const job = await this.view('jobs', [id], tag);
    if (lower(job['payer']) === ZeroAddress) return null;
    return {
      payer: lower(job['payer']),
      signer: lower(job['signer']),
      token: lower(job['token']),
      expiry: Number(job['expiry']),
      free: job['free'] as bigint,
      reserved: job['reserved'] as bigint,
    };
  }

  /** A lane that nobody reserved has zeroes. */
  async lane(job: JobId, payee: Address, tag: BlockTag = 'latest'): Promise<LaneState> {
    const lane = await this.view('lanes', [job, payee], tag);
    return {
      cap: lane['cap'] as bigint,
      paid: lane['paid'] as bigint,
      nonce: Number(lane['nonce']),
    };
  }

  /** The id that `open` gives this payer for this salt. */
  async jobId(payer: Address, salt: Hash32): Promise<JobId> {
    const data = iface.encodeFunctionData('jobId', [payer, salt]);
    const [id] = iface.decodeFunctionResult('jobId', await this.read(data));
    return id as JobId;
  }

  /** Events of a job in [from, to], in the chain's order. */
  async events(job: JobId, range: { readonly from: number; readonly to: number }) {
    const logs = await this.chain.logs({ ...range, address: this.address, topics: [null, job] });
    return logs
      .filter((log) => log.address === this.address)
      .flatMap((log): EscrowEvent[] => {
        const parsed = iface.parseLog({ topics: [...log.topics], data: log.data });
        if (parsed === null) return [];
        return [{ name: parsed.name, job, values: parsed.args.toObject(), log }];
      });
  }

  private async view(method: string, args: readonly unknown[], tag: BlockTag) {
    const data = iface.encodeFunctionData(method, args);
    const result = await this.read(data, tag);
    if (result === '0x') {
      throw new ChainError(`the node knows nothing of ${this.address} in block ${String(tag)}`, {
        retryable: true,
      });
    }
    return iface.decodeFunctionResult(method, result).toObject() as Readonly<
      Record<string, unknown>
    >;
  }

  private read(data: string, tag: BlockTag = 'latest'): Promise<string> {
    return this.chain.read({ to: this.address, data }, tag);
  }
}

/** What to send; each is a transaction's data to the escrow. Amounts in base units. */
export const escrowCalls = {
  open: (job: {
    readonly salt: Hash32;
    readonly token: Address;
    readonly signer: Address;
    readonly amount: bigint;
    /** Block time, seconds. */
    readonly expiry: number;
  }): string =>
    iface.encodeFunctionData('open', [job.salt, job.token, job.signer, job.amount, job.expiry]),
  topUp: (job: JobId, amount: bigint, expiry: number): string =>
    iface.encodeFunctionData('topUp', [job, amount, expiry]),
  /** `added` is what each lane gets more, not its new cap. */
  reserve: (job: JobId, payees: readonly Address[], added: readonly bigint[]): string =>
    iface.encodeFunctionData('reserve', [job, payees, added]),
  redeem: (job: JobId, vouchers: readonly SignedVoucher[]): string =>
    iface.encodeFunctionData('redeem', [
      job,
      vouchers.map(({ payee, cumulative, seq, ledgerHead, r, vs }) => ({
        ...{ payee, cumulative, seq, ledgerHead, r, vs },
      })),
    ]),
  settle: (
    job: JobId,
    payees: readonly Address[],
    cumulatives: readonly bigint[],
    ledgerHead: Hash32,
  ): string => iface.encodeFunctionData('settle', [job, payees, cumulatives, ledgerHead]),
  /** `signature` is the payee's, 65 bytes. */
  release: (job: JobId, payee: Address, cap: bigint, signature: string): string =>
    iface.encodeFunctionData('release', [job, payee, cap, signature]),
  refund: (job: JobId): string => iface.encodeFunctionData('refund', [job]),
} as const;

export const tokenCalls = {
  approve: (spender: Address, amount: bigint): string =>
    TOKEN.encodeFunctionData('approve', [spender, amount]),
  /** Of the simulated chain's token alone. */
  mint: (to: Address, amount: bigint): string => TOKEN.encodeFunctionData('mint', [to, amount]),
} as const;

/** Data of a transaction that deploys a contract of ours. */
export function deployData(name: 'LaneEscrow' | 'DevToken', args: readonly unknown[] = []): string {
  const artifact = readArtifact(name);
  return artifact.bytecode + new Interface(artifact.abi).encodeDeploy(args).slice(2);
}

/** @throws ChainError when it is no ERC-20 that says how many decimals it has. */
export async function readToken(chain: ChainClient, address: Address): Promise<TokenInfo> {
  const ask = async (method: 'decimals' | 'symbol'): Promise<unknown> => {
    const answer = await chain.read({ to: address, data: TOKEN.encodeFunctionData(method) });
    return TOKEN.decodeFunctionResult(method, answer)[0];
  };
  try {
    const decimals = Number(await ask('decimals'));
    // A name is words; a token without one is named by its address.
    const symbol = await ask('symbol').then(symbolOf, () => address.slice(0, 10));
    return { address, symbol, decimals };
  } catch (cause) {
    if (cause instanceof ChainError && cause.retryable) throw cause;
    throw new ChainError(
      `token ${address} on chain ${String(chain.chainId)} does not say how many decimals it has: amounts cannot be ` +
        'written for it. Expected an ERC-20 with decimals(); is the address right?',
      { fault: 'user', cause },
    );
  }
}

export async function tokenBalance(
  chain: ChainClient,
  token: Address,
  owner: Address,
): Promise<bigint> {
  return tokenAmount(chain, token, 'balanceOf', [owner]);
}

export async function tokenAllowance(
  chain: ChainClient,
  token: Address,
  owner: Address,
  spender: Address,
): Promise<bigint> {
  return tokenAmount(chain, token, 'allowance', [owner, spender]);
}

/** What a contract refused with, in its own words: 'InsufficientFree(free 5, needed 9)'; null when it said nothing known. */
export function refusalText(error: unknown): string | null {
  if (!(error instanceof RpcRefusal) || error.revertData === null) return null;
  try {
    const parsed = iface.parseError(error.revertData);
    if (parsed === null) return null;
    const values = parsed.fragment.inputs.map(({ name }, i) => `${name} ${String(parsed.args[i])}`);
    return `${parsed.name}(${values.join(', ')})`;
  } catch {
    // Data that begins like an error of ours and is none.
    return null;
  }
}

/** An address as people write it, checked. @throws ChainError naming `what` it should be. */
export function parseAddress(text: string, what: string): Address {
  try {
    return getAddress(text).toLowerCase() as Address;
  } catch {
    throw new ChainError(
      `${what} '${text.slice(0, 60)}' is no address: expected 0x and 40 hex digits, with a right checksum if letters are mixed`,
      { fault: 'user' },
    );
  }
}

async function tokenAmount(
  chain: ChainClient,
  token: Address,
  method: 'balanceOf' | 'allowance',
  args: readonly Address[],
): Promise<bigint> {
  const call: Call = { to: token, data: TOKEN.encodeFunctionData(method, args) };
  const answer = await chain.read(call);
  if (answer === '0x') throw new ChainError(`there is no token at ${token}`, { fault: 'user' });
  return TOKEN.decodeFunctionResult(method, answer)[0] as bigint;
}

function symbolOf(value: unknown): string {
  // What a token calls itself is shown to people: letters and digits cannot fake anything else.
  const clean = String(value).replaceAll(/[^0-9A-Za-z.$₮-]/g, '');
  return clean.slice(0, 12) || '?';
}
