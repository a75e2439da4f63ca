/** @file An escrow on a stage with jobs, vouchers and releases as tests write them down. */
import { Signature, TypedDataEncoder, concat, id as keccakText, keccak256 } from 'ethers';
import type { BaseWallet } from 'ethers';
import type { Address, TypedField } from '@ravenlab/protocol';
import { RELEASE_TYPES, VOUCHER_TYPES, escrowDomain } from '@ravenlab/protocol';
import type { Deployed, Receipt, SendOptions, Stage } from './stage.js';
import { Reverted } from './stage.js';

const VOUCHER = encoderOf(VOUCHER_TYPES);
const RELEASE = encoderOf(RELEASE_TYPES);

export const GRACE_S = 86_400;
export const DAY_S = 86_400;
const HEAD = keccakText('head of the ledger');

export interface JobView {
  readonly payer: string;
  readonly expiry: bigint;
  readonly free: bigint;
  readonly reserved: bigint;
}

export interface LaneView {
  readonly cap: bigint;
  readonly paid: bigint;
  readonly nonce: bigint;
}

export interface VoucherFields {
  readonly job: string;
  readonly payee: string;
  readonly cumulative: bigint;
  readonly seq: bigint;
  readonly ledgerHead: string;
}

/** A voucher as `redeem` takes it; the job is an argument of its own. */
export interface SignedVoucher extends VoucherFields {
  readonly r: string;
  readonly vs: string;
}

export interface OpenOptions {
  readonly amount?: bigint;
  readonly expiry?: number;
  readonly signer?: string;
  readonly token?: Deployed;
  readonly payer?: string;
}

export interface OpenedJob {
  readonly id: string;
  readonly expiry: number;
}

/** Who is who among the accounts of a stage. */
export interface Cast {
  readonly payer: string;
  readonly signer: BaseWallet;
  readonly ann: BaseWallet;
  readonly bob: BaseWallet;
  readonly eve: BaseWallet;
  readonly relayer: string;
}

function castOf(stage: Stage): Cast {
  const [, , signer, ann, bob, eve] = stage.wallets;
  return {
    payer: stage.account(1),
    signer: signer!,
    ann: ann!,
    bob: bob!,
    eve: eve!,
    relayer: stage.account(6),
  };
}

export class Escrow {
  readonly contract: Deployed;
  readonly token: Deployed;
  readonly stage: Stage;
  readonly cast: Cast;
  private readonly domainSeparator: string;
  private salts = 0;

  private constructor(stage: Stage, contract: Deployed, token: Deployed) {
    this.stage = stage;
    this.contract = contract;
    this.token = token;
    this.cast = castOf(stage);
    this.domainSeparator = TypedDataEncoder.hashDomain(
      escrowDomain(stage.chain.chainId, contract.address as Address),
    );
  }

  /** Deploys an escrow, and a token unless one is given. */
  static async deploy(stage: Stage, token?: Deployed): Promise<Escrow> {
    const contract = await stage.deploy('LaneEscrow');
    const money = token ?? (await stage.deploy('DevToken', ['Simulated dollar', 'SUSD', 6]));
    return new Escrow(stage, contract, money);
  }

  /** EIP-712: what is signed for this contract on this chain. */
  private digest(structHash: string): string {
    return keccak256(concat(['0x1901', this.domainSeparator, structHash]));
  }

  /** A salt that this escrow has not seen. */
  nextSalt(): string {
    return keccakText(`salt ${String(this.salts++)}`);
  }

  /** Mints and approves what the payer needs, then opens a job that expires in ten days. */
  async open(options: OpenOptions = {}): Promise<OpenedJob> {
    const { amount = 1_000n, token = this.token, payer = this.cast.payer } = options;
    const expiry = options.expiry ?? (await this.stage.now()) + 10 * DAY_S;
    const salt = this.nextSalt();
    await this.fund(payer, amount, token);
    const signer = options.signer ?? this.cast.signer.address;
    await this.call('open', [salt, token.address, signer, amount, expiry], { from: payer });
    return { id: (await this.contract.view('jobId', [payer, salt])) as string, expiry };
  }

  /** Mints to an account and approves it for the escrow. */
  async fund(account: string, amount: bigint, token: Deployed = this.token): Promise<void> {
    await token.send('mint', [account, amount]);
    await token.send('approve', [this.contract.address, amount], { from: account });
  }

  /** Opens a job and reserves a lane for each of the given payees. */
  async openWithLanes(
    lanes: Readonly<Record<string, bigint>>,
    options: OpenOptions = {},
  ): Promise<OpenedJob> {
    const job = await this.open(options);
    await this.reserve(job.id, lanes, { from: options.payer ?? this.cast.payer });
    return job;
  }

  reserve(
    job: string,
    lanes: Readonly<Record<string, bigint>>,
    options: SendOptions = { from: this.cast.payer },
  ): Promise<Receipt> {
    return this.call('reserve', [job, Object.keys(lanes), Object.values(lanes)], options);
  }

  voucher(
    job: string,
    payee: string,
    cumulative: bigint,
    signer: BaseWallet = this.cast.signer,
    seq = 1n,
  ): SignedVoucher {
    return this.signVoucher({ job, payee, cumulative, seq, ledgerHead: HEAD }, signer);
  }

  signVoucher(fields: VoucherFields, signer: BaseWallet): SignedVoucher {
    const digest = this.digest(VOUCHER.hash({ ...fields }));
    const { r, yParityAndS } = signer.signingKey.sign(digest);
    return { ...fields, r, vs: yParityAndS };
  }

  redeem(
    job: string,
    vouchers: readonly SignedVoucher[],
    options: SendOptions = { from: this.cast.relayer },
  ): Promise<Receipt> {
    return this.call('redeem', this.redeemArguments(job, vouchers), options);
  }

  redeemArguments(job: string, vouchers: readonly SignedVoucher[]): readonly unknown[] {
    const entries = vouchers.map((each) => [
      each.payee,
      each.cumulative,
      each.seq,
      each.ledgerHead,
      each.r,
      each.vs,
    ]);
    return [job, entries];
  }

  settle(
    job: string,
    amounts: Readonly<Record<string, bigint>>,
    options: SendOptions = { from: this.cast.payer },
  ): Promise<Receipt> {
    return this.call('settle', [job, Object.keys(amounts), Object.values(amounts), HEAD], options);
  }

  signRelease(job: string, payee: string, cap: bigint, nonce: bigint, signer: BaseWallet): string {
    const digest = this.digest(RELEASE.hash({ job, payee, cap, nonce }));
    return Signature.from(signer.signingKey.sign(digest)).serialized;
  }

  /** A 65-byte signature in the compact form that vouchers have. */
  compact(signature: string): { readonly r: string; readonly vs: string } {
    const { r, yParityAndS } = Signature.from(signature);
    return { r, vs: yParityAndS };
  }

  /** A payee gives up what its lane has above `cap`. */
  async release(job: string, payee: BaseWallet, cap: bigint): Promise<Receipt> {
    const { nonce } = await this.lane(job, payee.address);
    const signature = this.signRelease(job, payee.address, cap, nonce, payee);
    return this.call('release', [job, payee.address, cap, signature]);
  }

  /** Sends the refund, and tells what the payer received. */
  async refund(job: string, payer = this.cast.payer, token = this.token): Promise<bigint> {
    const before = await this.balance(payer, token);
    await this.call('refund', [job], { from: payer });
    return (await this.balance(payer, token)) - before;
  }

  async job(id: string): Promise<JobView> {
    return (await this.contract.view('jobs', [id])) as JobView;
  }

  async lane(job: string, payee: string): Promise<LaneView> {
    return (await this.contract.view('lanes', [job, payee])) as LaneView;
  }

  async balance(account: string, token: Deployed = this.token): Promise<bigint> {
    return (await token.view('balanceOf', [account])) as bigint;
  }

  call(method: string, args: readonly unknown[], options: SendOptions = {}): Promise<Receipt> {
    return this.contract.send(method, args, options);
  }
}

/** Ethers wants lists that it may change. */
function encoderOf(types: Readonly<Record<string, readonly TypedField[]>>): TypedDataEncoder {
  return TypedDataEncoder.from(
    Object.fromEntries(Object.entries(types).map(([name, fields]) => [name, [...fields]])),
  );
}

/** The name of the error that a call is refused with; a call that succeeds fails the test. */
export async function refusal(call: Promise<unknown>): Promise<string> {
  try {
    await call;
  } catch (error) {
    if (error instanceof Reverted) return error.reason;
    throw error;
  }
  return 'it was not refused';
}
