/**
 * @file Random operations for the escrow and its model: most of them plausible, some of them hostile. State decides what
 * is plausible; a seed decides everything.
 */
import { id as keccakText } from 'ethers';
import type { Prng } from '../../sim/prng.js';
import type { EscrowModel, ModelJob, Operation, Paper, Release, Voucher } from './model.js';
import { GRACE, MAX_DURATION, ZERO } from './model.js';

const DAY = 86_400n;
const PAPERS_KEPT = 200;
const JOBS_IN_PLAY = 12;
const UINT128_MAX = 2n ** 128n - 1n;
const OPERATIONS_PER_OPEN = 25;

export interface Players {
  readonly payers: readonly string[];
  readonly signers: readonly string[];
  readonly payees: readonly string[];
  readonly outsider: string;
  jobId(payer: string, salt: string): string;
}

/** Something that happens beside the escrow. */
export type Happening =
  | { readonly kind: 'warp'; readonly to: bigint }
  | { readonly kind: 'list'; readonly payee: string; readonly isListed: boolean };

export class Generator {
  private readonly random: Prng;
  private readonly players: Players;
  private readonly model: EscrowModel;
  private readonly tokens: readonly string[];
  /** Papers that were signed: an attacker keeps them all. */
  private readonly vouchers: Paper<Voucher>[] = [];
  private readonly releases: Paper<Release>[] = [];
  private readonly jobs: string[] = [];
  private salts = 0;
  private drawn = 0;

  constructor(random: Prng, players: Players, model: EscrowModel) {
    this.random = random;
    this.players = players;
    this.model = model;
    this.tokens = [...model.tokens.keys()];
  }

  next(): Operation | Happening {
    const isTimeForAJob = this.drawn++ % OPERATIONS_PER_OPEN === 0;
    if (isTimeForAJob || this.jobs.length === 0) return this.open();
    const roll = this.random.between(1, 100);
    if (roll <= 22) return this.reserve();
    if (roll <= 55) return this.redeem();
    if (roll <= 70) return this.settle();
    if (roll <= 82) return this.release();
    if (roll <= 88) return this.topUp();
    if (roll <= 95) return { kind: 'refund', from: this.payerOf(this.job()), id: this.jobId() };
    if (roll <= 97) return this.list();
    return this.warp();
  }

  private open(): Operation {
    const from = this.random.pick(this.players.payers);
    const salt = keccakText(`salt ${String(this.random.chance(100) ? this.salts : ++this.salts)}`);
    const id = this.players.jobId(from, salt);
    if (!this.jobs.includes(id)) this.jobs.push(id);
    if (this.jobs.length > JOBS_IN_PLAY) this.jobs.shift();
    const now = this.model.now;
    const expiry = this.random.chance(950)
      ? now + BigInt(this.random.between(1, 20)) * (DAY / 2n)
      : this.random.pick([now, now + 1n, now + MAX_DURATION, now + MAX_DURATION + 1n]);
    const signer = this.random.chance(20) ? ZERO : this.random.pick(this.players.signers);
    const token = this.random.pick(this.tokens);
    return { kind: 'open', from, id, salt, token, signer, amount: this.amount(), expiry };
  }

  private topUp(): Operation {
    const job = this.job();
    const expiry = job?.expiry ?? this.model.now;
    const moved = this.random.pick([
      expiry,
      expiry,
      expiry + DAY,
      expiry - 1n,
      expiry + 400n * DAY,
    ]);
    const amount = this.random.chance(300) ? 0n : this.amount();
    return { kind: 'topUp', from: this.payerOf(job), id: this.idOf(job), amount, expiry: moved };
  }

  private reserve(): Operation {
    const job = this.job();
    const payees = this.payees();
    const free = job?.free ?? 0n;
    const amounts = payees.map(() =>
      this.random.chance(30)
        ? this.random.pick([0n, free + 1n, UINT128_MAX])
        : this.upTo(free / BigInt(payees.length)),
    );
    return {
      kind: 'reserve',
      from: this.payerOf(job),
      id: this.idOf(job),
      payees,
      amounts,
      ledgerHead: this.head(),
    };
  }

  private settle(): Operation {
    const job = this.job();
    const payees = this.payees().filter((payee) => payee !== ZERO);
    const amounts = payees.map((payee) => this.cumulative(job, payee));
    return {
      kind: 'settle',
      from: this.payerOf(job),
      id: this.idOf(job),
      payees,
      amounts,
      ledgerHead: this.head(),
    };
  }

  private redeem(): Operation {
    const job = this.job();
    const id = this.idOf(job);
    const count = this.random.chance(20) ? 0 : this.random.between(1, 4);
    const vouchers = Array.from({ length: count }, () => this.voucher(job, id));
    const from = this.random.pick([this.players.outsider, ...this.players.payees]);
    return { kind: 'redeem', from, id, vouchers };
  }

  private release(): Operation {
    const job = this.job();
    const id = this.idOf(job);
    const from = this.players.outsider;
    if (this.releases.length > 0 && this.random.chance(250)) {
      const old = this.random.pick(this.releases);
      return {
        kind: 'release',
        from,
        id: this.random.chance(800) ? old.shown.job : id,
        release: old,
      };
    }
    const payee = this.random.pick(this.players.payees);
    const lane = this.model.lane(id, payee);
    const cap = this.random.chance(900)
      ? lane.paid + this.upTo(lane.cap - lane.paid)
      : this.random.pick([lane.cap, lane.cap + 1n, lane.paid - (lane.paid > 0n ? 1n : 0n), 0n]);
    const signed: Release = { job: id, payee, cap, nonce: lane.nonce };
    const signer = this.random.chance(50) ? this.random.pick(this.players.signers) : payee;
    const release = { shown: signed, signed, signer };
    this.keep(this.releases, release);
    // Kept back until later.
    if (this.random.chance(200)) return this.reserve();
    return { kind: 'release', from, id, release };
  }

  private list(): Happening {
    return {
      kind: 'list',
      payee: this.random.pick(this.players.payees),
      isListed: this.random.chance(400),
    };
  }

  private warp(): Happening {
    const job = this.job();
    const edge = (job?.expiry ?? this.model.now) + this.random.pick([0n, 1n, GRACE, GRACE + 1n]);
    const step = BigInt(this.random.between(1, 43_200));
    const isNear = edge > this.model.now && edge < this.model.now + 4n * DAY;
    return { kind: 'warp', to: isNear && this.random.chance(500) ? edge : this.model.now + step };
  }

  private voucher(job: ModelJob | undefined, id: string): Paper<Voucher> {
    if (this.vouchers.length > 0 && this.random.chance(150)) return this.random.pick(this.vouchers);
    const payee = this.random.pick(this.players.payees);
    const signed: Voucher = {
      job: id,
      payee,
      cumulative: this.cumulative(job, payee),
      seq: BigInt(this.drawn),
      ledgerHead: this.head(),
    };
    const isForged = this.random.chance(40);
    const signer =
      job === undefined || isForged ? this.random.pick(this.players.signers) : job.signer;
    const genuine = { shown: signed, signed, signer };
    this.keep(this.vouchers, genuine);
    if (!this.random.chance(40)) return genuine;
    const other = this.random.pick(this.players.payees);
    const altered = this.random.pick<Partial<Voucher>>([
      { payee: other },
      { cumulative: signed.cumulative ^ 1n },
      { seq: signed.seq + 1n },
      { ledgerHead: keccakText('another head') },
    ]);
    return { shown: { ...signed, ...altered }, signed, signer };
  }

  /** Mostly between what was paid and the cap, edges included; sometimes not. */
  private cumulative(job: ModelJob | undefined, payee: string): bigint {
    const { cap, paid } = this.model.lane(this.idOf(job), payee);
    if (this.random.chance(120)) {
      return this.random.pick([paid, cap, cap + 1n, 0n, 2n ** 112n, UINT128_MAX]);
    }
    return cap > paid ? paid + 1n + this.upTo((cap - paid - 1n) / 2n) : paid;
  }

  private keep<T>(papers: T[], paper: T): void {
    papers.push(paper);
    if (papers.length > PAPERS_KEPT) papers.shift();
  }

  private job(): ModelJob | undefined {
    return this.model.jobs.get(this.random.pick(this.jobs));
  }

  private jobId(): string {
    return this.idOf(this.job());
  }

  private idOf(job: ModelJob | undefined): string {
    return job?.id ?? keccakText('no such job');
  }

  private payerOf(job: ModelJob | undefined): string {
    const { payers, outsider } = this.players;
    if (job === undefined || this.random.chance(40)) return this.random.pick([...payers, outsider]);
    return job.payer;
  }

  private payees(): string[] {
    const count = this.random.chance(20) ? 0 : this.random.between(1, 3);
    return Array.from({ length: count }, () =>
      this.random.chance(10)
        ? this.random.pick([ZERO, this.model.address])
        : this.random.pick(this.players.payees),
    );
  }

  /** Powers of ten apart, so that tiny and huge amounts meet. */
  private amount(): bigint {
    return BigInt(this.random.next()) * 10n ** BigInt(this.random.between(0, 18));
  }

  private upTo(limit: bigint): bigint {
    if (limit <= 0n) return 0n;
    const wide = (BigInt(this.random.next()) << 96n) | (BigInt(this.random.next()) << 64n);
    return (wide | (BigInt(this.random.next()) << 32n) | BigInt(this.random.next())) % (limit + 1n);
  }

  private head(): string {
    return keccakText(`head ${String(this.drawn)}`);
  }
}
