/**
 * @file Ten thousand random operations on the escrow and on its model: same refusals, same events, same balances to the
 * last unit, and the promises of the contract hold after each.
 *
 * RAVENLAB_SEED and RAVENLAB_FUZZ_OPERATIONS choose another course; a failure names the seed and the operation.
 */
import type { BaseWallet } from 'ethers';
import { AbiCoder, keccak256 } from 'ethers';
import { Prng } from '../sim/prng.js';
import { Escrow } from './lib/escrow.js';
import type { SignedVoucher } from './lib/escrow.js';
import type { ModelEvent, ModelToken, Operation, Outcome, Voucher } from './lib/model.js';
import { EscrowModel } from './lib/model.js';
import type { Happening, Players } from './lib/operations.js';
import { Generator } from './lib/operations.js';
import type { Deployed } from './lib/stage.js';
import { Reverted, Stage } from './lib/stage.js';
import { encodeArguments } from './lib/words.js';

const SEED = Number(process.env['RAVENLAB_SEED'] ?? 20_261_122);
const OPERATIONS = Number(process.env['RAVENLAB_FUZZ_OPERATIONS'] ?? 10_000);
const OPERATIONS_PER_BLOCK = 40;
const OPERATIONS_PER_AUDIT = 1_000;
const LIMIT_MS = 270_000;
const PAYER_FUNDS = 10n ** 40n;

/** Every refusal that a course of this length must have met; the rest needs no randomness. */
const REFUSALS = [
  ...['BadExpiry', 'BadRelease', 'BadSig', 'Closed', 'EmptyBatch', 'Expired', 'InsufficientFree'],
  ...['JobExists', 'NoSuchJob', 'NotPayer', 'OverCap', 'PayeeIsEscrow', 'Stale', 'TransferFailed'],
  ...['SafeCastOverflowedUintDowncast', 'ZeroAddress'],
];
const KINDS = ['open', 'topUp', 'reserve', 'settle', 'redeem', 'release', 'refund'] as const;

/** The escrow, its model, and the hands that work on both. */
class Twin {
  readonly stage: Stage;
  readonly escrow: Escrow;
  readonly model: EscrowModel;
  readonly players: Players;
  private readonly tokens: ReadonlyMap<string, Deployed>;
  private readonly wallets: ReadonlyMap<string, BaseWallet>;
  private readonly signatures = new WeakMap<Voucher, SignedVoucher>();
  private readonly errors: ReadonlyMap<string, string>;
  private readonly methods: ReadonlyMap<string, string>;

  private constructor(escrow: Escrow, tokens: readonly Deployed[], now: bigint) {
    const { stage, contract } = escrow;
    this.stage = stage;
    this.escrow = escrow;
    this.tokens = new Map(tokens.map((token) => [token.address, token]));
    this.wallets = new Map(stage.wallets.map((wallet) => [wallet.address, wallet]));
    const accounts = [...this.wallets.keys()];
    this.players = {
      payers: accounts.slice(1, 3),
      signers: accounts.slice(3, 5),
      payees: accounts.slice(5, 9),
      outsider: accounts[9]!,
      jobId: (payer, salt) =>
        keccak256(
          AbiCoder.defaultAbiCoder().encode(
            ['uint256', 'address', 'address', 'bytes32'],
            [stage.chain.chainId, contract.address, payer, salt],
          ),
        ),
    };
    this.model = new EscrowModel(contract.address, tokens.map(this.modelOf), now);
    const errors = new Map<string, string>();
    contract.iface.forEachError((error) => void errors.set(error.selector, error.name));
    this.errors = errors;
    const methods = new Map<string, string>();
    contract.iface.forEachFunction((each) => void methods.set(each.name, each.selector));
    this.methods = methods;
  }

  static async start(): Promise<Twin> {
    const stage = await Stage.start();
    const escrow = await Escrow.deploy(stage);
    const tokens = [
      escrow.token,
      await stage.deploy('testing/FeeToken'),
      await stage.deploy('testing/BlacklistToken'),
    ];
    const twin = new Twin(escrow, tokens, BigInt(await stage.now()));
    for (const token of tokens) {
      for (const from of twin.players.payers) {
        await token.send('mint', [from, PAYER_FUNDS]);
        await token.send('approve', [escrow.contract.address, 2n ** 256n - 1n], { from });
      }
    }
    return twin;
  }

  /** What the chain makes of these, in one block. */
  async send(operations: readonly Operation[]): Promise<Outcome[]> {
    const { contract } = this.escrow;
    const calls = operations.map((operation) => {
      const selector = this.methods.get(operation.kind) ?? '';
      const data = selector + encodeArguments(this.argumentsOf(operation));
      return { from: operation.from, data };
    });
    return (await this.stage.sendAll(contract, calls)).map((answer) =>
      answer instanceof Reverted
        ? { error: answer.reason }
        : { events: contract.events(answer).map((event) => this.named(event)) },
    );
  }

  async happen(happening: Happening): Promise<void> {
    if (happening.kind === 'warp') {
      await this.stage.setTime(Number(happening.to));
      this.model.now = happening.to;
      return;
    }
    const { payee, isListed } = happening;
    const token = [...this.tokens.values()].at(-1)!;
    await token.send('setListed', [payee, isListed]);
    const { listed } = this.model.tokens.get(token.address)!;
    if (isListed) listed.add(payee);
    else listed.delete(payee);
  }

  /** Everything that chain and model do not agree on: these jobs, and every balance. */
  async differences(jobs: Iterable<string>): Promise<string[]> {
    const found: string[] = [];
    const compare = (what: string, chain: unknown, model: unknown) => {
      if (chain !== model) found.push(`${what}: chain ${String(chain)}, model ${String(model)}`);
    };
    for (const id of jobs) {
      const ours = this.model.jobs.get(id);
      if (ours === undefined) continue;
      const job = await this.escrow.job(id);
      for (const key of ['payer', 'expiry', 'free', 'reserved'] as const) {
        compare(`${id}.${key}`, job[key], ours[key]);
      }
      for (const payee of this.players.payees) {
        const lane = await this.escrow.lane(id, payee);
        const own = this.model.lane(id, payee);
        for (const key of ['cap', 'paid', 'nonce'] as const) {
          compare(`${id}.${payee}.${key}`, lane[key], own[key]);
        }
      }
    }
    for (const [address, token] of this.tokens) {
      const { balances } = this.model.tokens.get(address)!;
      for (const account of [...this.wallets.keys(), this.escrow.contract.address, address]) {
        const held = await this.escrow.balance(account, token);
        compare(`${address} of ${account}`, held, balances.get(account) ?? 0n);
      }
      const supply = [...balances.values()].reduce((sum, balance) => sum + balance, 0n);
      compare(`${address} in all`, await token.view('totalSupply'), supply);
    }
    return found;
  }

  private readonly modelOf = (token: Deployed, index: number): ModelToken => ({
    address: token.address,
    feePerCent: index === 1 ? 1n : 0n,
    balances: new Map(this.players.payers.map((payer) => [payer, PAYER_FUNDS])),
    listed: new Set(),
  });

  /** The reason of a skipped entry by name, as the model has it. */
  private named({ name, args }: ModelEvent): ModelEvent {
    if (name !== 'Skipped') return { name, args };
    return { name, args: { ...args, reason: this.errors.get(String(args['reason'])) } };
  }

  private argumentsOf(operation: Operation): readonly unknown[] {
    const { id } = operation;
    switch (operation.kind) {
      case 'open': {
        const { salt, token, signer, amount, expiry } = operation;
        return [salt, token, signer, amount, expiry];
      }
      case 'topUp':
        return [id, operation.amount, operation.expiry];
      case 'reserve':
        return [id, operation.payees, operation.amounts];
      case 'settle':
        return [id, operation.payees, operation.amounts, operation.ledgerHead];
      case 'redeem': {
        const vouchers = operation.vouchers.map(({ shown, signed, signer }) => {
          const { r, vs } = this.signed(signed, signer);
          return { ...shown, r, vs };
        });
        return this.escrow.redeemArguments(id, vouchers);
      }
      case 'release': {
        const { shown, signed, signer } = operation.release;
        const { job, payee, cap, nonce } = signed;
        const wallet = this.wallet(signer);
        const signature = this.escrow.signRelease(job, payee, cap, nonce, wallet);
        return [id, shown.payee, shown.cap, signature];
      }
      case 'refund':
        return [id];
    }
  }

  /** A paper that is presented again is not signed again. */
  private signed(voucher: Voucher, signer: string): SignedVoucher {
    const known = this.signatures.get(voucher);
    if (known !== undefined) return known;
    const fresh = this.escrow.signVoucher(voucher, this.wallet(signer));
    this.signatures.set(voucher, fresh);
    return fresh;
  }

  private wallet(address: string): BaseWallet {
    const wallet = this.wallets.get(address);
    if (wallet === undefined) throw new Error(`no wallet signs for ${address}`);
    return wallet;
  }
}

/** How often each kind was done, and each refusal met. */
class Tally {
  readonly done = new Map<string, number>();
  readonly refused = new Map<string, number>();

  add(kind: string, outcome: Outcome): void {
    const [counts, name] = 'error' in outcome ? [this.refused, outcome.error] : [this.done, kind];
    counts.set(name, (counts.get(name) ?? 0) + 1);
    if ('events' in outcome && outcome.events.some((event) => event.name === 'Skipped')) {
      this.done.set('skip', (this.done.get('skip') ?? 0) + 1);
    }
  }

  toString(): string {
    const list = (counts: ReadonlyMap<string, number>) =>
      [...counts].map(([name, count]) => `${name} ${String(count)}`).join(', ');
    return `done: ${list(this.done)}\nrefused: ${list(this.refused)}`;
  }
}

/** Names in order, so that equal outcomes have equal texts; ten times faster than a deep comparison. */
const textOf = (outcome: Outcome): string =>
  'error' in outcome
    ? outcome.error
    : outcome.events
        .map(({ name, args }) => `${name} ${Object.entries(args).sort().join(' ')}`)
        .join('\n');

interface Drawn {
  readonly operation: Operation;
  /** The model's. */
  readonly outcome: Outcome;
  readonly violations: readonly string[];
}

/** Operations up to the next happening, already done in the model: they share a block, and so their time. */
function drawBlock(
  generator: Generator,
  model: EscrowModel,
): { readonly block: readonly Drawn[]; readonly happening: Happening | null } {
  const block: Drawn[] = [];
  while (block.length < OPERATIONS_PER_BLOCK) {
    const next = generator.next();
    if (next.kind === 'warp' || next.kind === 'list') return { block, happening: next };
    const outcome = model.apply(next);
    block.push({ operation: next, outcome, violations: model.violations(next.id) });
  }
  return { block, happening: null };
}

let twin: Twin;

beforeAll(async () => {
  twin = await Twin.start();
});

afterAll(async () => {
  await twin.stage.stop();
});

test(
  'randomOperations_neverBreakAPromise_andAgreeWithTheModelToTheLastUnit',
  async () => {
    const generator = new Generator(new Prng(SEED), twin.players, twin.model);
    const tally = new Tally();
    const touched = new Set<string>();
    let operations = 0;
    let nextAudit = OPERATIONS_PER_AUDIT;
    while (operations < OPERATIONS) {
      const { block, happening } = drawBlock(generator, twin.model);
      const outcomes = await twin.send(block.map(({ operation }) => operation));
      for (const [index, { operation, outcome, violations }] of block.entries()) {
        operations++;
        touched.add(operation.id);
        const chain = outcomes[index]!;
        if (textOf(chain) !== textOf(outcome) || violations.length > 0) {
          const where = { seed: SEED, operations, operation };
          expect({ ...where, outcome: chain, violations }).toEqual({
            ...where,
            outcome,
            violations: [],
          });
        }
        tally.add(operation.kind, chain);
      }
      if (happening !== null) await twin.happen(happening);
      if (operations < nextAudit) continue;
      nextAudit += OPERATIONS_PER_AUDIT;
      const problems = await twin.differences(touched);
      expect({ seed: SEED, operations, problems }).toEqual({
        seed: SEED,
        operations,
        problems: [],
      });
      touched.clear();
    }
    const rest = await twin.differences(twin.model.jobs.keys());
    expect(rest).toEqual([]);
    console.log(
      `seed ${String(SEED)}: ${String(operations)} operations on ${String(twin.model.jobs.size)} jobs, 0 violations\n${tally.toString()}`,
    );
    // A course that never gets anywhere proves nothing.
    expect(KINDS.filter((kind) => (tally.done.get(kind) ?? 0) < OPERATIONS / 200)).toEqual([]);
    if (OPERATIONS >= 10_000) {
      expect(REFUSALS.filter((name) => !tally.refused.has(name))).toEqual([]);
    }
  },
  LIMIT_MS,
);
