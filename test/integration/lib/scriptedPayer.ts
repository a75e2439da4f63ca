/** @file The payer's half of a deal, as a test wants it: a job of a real escrow, its terms, and receipts and vouchers true or false. */
import { createHash, randomBytes } from 'node:crypto';
import { accountOf, escrowSignatures } from '@ravenlab/contracts';
import type {
  Address,
  ChainHead,
  ChallengeMessage,
  DoneUnit,
  Hash32,
  HelloMessage,
  IdentifyMessage,
  JobId,
  Program,
  ProgramHash,
  Receipt,
  SignedVoucher,
  TermsMessage,
} from '@ravenlab/protocol';
import {
  EMPTY_CHAIN,
  amountOfWork,
  appendReceipt,
  encodeProgram,
  programCost,
} from '@ravenlab/protocol';
import type { Escrow } from '../../contracts/lib/escrow.js';
import type { Stage } from '../../contracts/lib/stage.js';
import type { ScriptedEngine } from './scriptedEngine.js';

const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();
const word = (): Hash32 => `0x${randomBytes(32).toString('hex')}` as Hash32;
const lower = (address: string): Address => address.toLowerCase() as Address;

/** Every unit costs this much per MiB of operands, and nothing per FLOP: prices that a test can add up. */
const RATE = { perGflop: 0n, perMib: 2n ** 20n };

export class ScriptedPayer {
  readonly escrow: Escrow;
  readonly job: JobId;
  readonly expiry: number;
  private readonly engine: ScriptedEngine;
  private chain: ChainHead = EMPTY_CHAIN;
  private seq = 0;

  private constructor(engine: ScriptedEngine, escrow: Escrow, job: string, expiry: number) {
    this.engine = engine;
    this.escrow = escrow;
    this.job = job as JobId;
    this.expiry = expiry;
  }

  static async open(
    engine: ScriptedEngine,
    escrow: Escrow,
    options: { readonly amount?: bigint; readonly expiry?: number } = {},
  ): Promise<ScriptedPayer> {
    const { id, expiry } = await escrow.open({ amount: 1_000_000n, ...options });
    return new ScriptedPayer(engine, escrow, id, expiry);
  }

  get address(): Address {
    return lower(this.escrow.contract.address);
  }

  get earned(): bigint {
    return this.chain.earned;
  }

  get token(): Address {
    return lower(this.escrow.token.address);
  }

  private get stage(): Stage {
    return this.escrow.stage;
  }

  private get signatures() {
    return escrowSignatures(this.stage.chain.chainId, this.address);
  }

  private get signer() {
    return accountOf(this.escrow.cast.signer.privateKey);
  }

  reserve(payee: string, amount: bigint): Promise<unknown> {
    return this.escrow.reserve(this.job, { [payee]: amount });
  }

  /** HELLO, CHALLENGE, IDENTIFY, WELCOME; fails unless the worker proves that it is its payee. */
  async admit(): Promise<HelloMessage & { readonly payee: Address }> {
    const hello = await this.engine.next('hello');
    const { payee } = hello;
    if (payee === null) throw new Error('HELLO names no payee');
    const challenge = this.challenge();
    await this.engine.send(challenge);
    const { signature, clientKey } = await this.engine.next('identify');
    expect(this.whoSigned(challenge, payee, { signature, clientKey })).toBe(payee);
    await this.engine.greet(hello);
    return { ...hello, payee };
  }

  challenge(change: Partial<ChallengeMessage> = {}): ChallengeMessage {
    return {
      kind: 'challenge',
      nonce: word(),
      expiry: 2_000_000_000,
      chainId: this.stage.chain.chainId,
      escrow: this.address,
      serverKey: this.engine.keys.publicKey,
      ...change,
    };
  }

  private whoSigned(
    { nonce, expiry, serverKey }: ChallengeMessage,
    wallet: Address,
    { signature, clientKey }: Pick<IdentifyMessage, 'signature' | 'clientKey'>,
  ): Address | null {
    return this.signatures.hello.recover(
      { wallet, serverKey, clientKey, nonce, expiry },
      signature,
    );
  }

  terms(change: Partial<TermsMessage> = {}): TermsMessage {
    const { escrow } = this;
    return {
      kind: 'terms',
      chainId: this.stage.chain.chainId,
      ...this.claimAt(this.address),
      job: this.job,
      payer: lower(escrow.cast.payer),
      signer: lower(escrow.cast.signer.address),
      token: this.token,
      tokenSymbol: 'SUSD',
      decimals: 6,
      expiry: this.expiry,
      cap: 0n,
      paid: 0n,
      ...RATE,
      holdbackUnits: 0,
      ...change,
    };
  }

  /** Terms that say that the escrow is at this address, rightly signed. */
  claimAt(escrow: Address): Pick<TermsMessage, 'escrow' | 'serverSignature'> {
    const { job, engine, signer, stage } = this;
    const serverKey = engine.keys.publicKey;
    const { server } = escrowSignatures(stage.chain.chainId, escrow);
    return { escrow, serverSignature: server.sign({ serverKey, escrow, job }, signer) };
  }

  /** Receipts for results, as an honest payer writes them or with something changed. */
  receipts(
    program: Program,
    payee: Address,
    units: readonly DoneUnit[],
    change: Partial<Receipt> = {},
  ): string[] {
    const cost = programCost(program);
    const hash = createHash('sha256').update(encodeProgram(program)).digest('hex') as ProgramHash;
    return units.map((unit) => {
      if (unit.status !== 'ok' || unit.digest === null) throw new Error('no result with a digest');
      const receipt: Receipt = {
        n: this.chain.count + 1,
        job: this.job,
        payee,
        lease: unit.lease,
        program: hash,
        flops: cost.flops,
        sizeBytes: cost.bytes,
        amount: amountOfWork(RATE, cost),
        result: unit.digest,
        verdict: 'accepted',
        ...change,
      };
      const { chain, entry } = appendReceipt(this.chain, receipt, sha256);
      this.chain = chain;
      return entry.line;
    });
  }

  /** Signed over all receipts so far, or with something changed. */
  voucher(payee: Address, change: Partial<SignedVoucher> = {}): SignedVoucher {
    const voucher = {
      job: this.job,
      payee,
      cumulative: this.chain.earned,
      seq: ++this.seq,
      ledgerHead: this.chain.head,
      ...change,
    };
    return { ...voucher, ...this.signatures.voucher.sign(voucher, this.signer) };
  }
}
