/**
 * @file The worker process and its wallet against a scripted payer and a real chain: it proves who it is, believes only what the
 * chain confirms, keeps what it is promised through kill -9, stops for whoever does not pay, and redeems without anybody's help.
 *
 * @jest-environment ./test/support/nativeArrays.ts
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { accountOf } from '@ravenlab/contracts';
import type {
  Address,
  DoneUnit,
  Program,
  RunInput,
  TermsMessage,
  WorkerToEngine,
} from '@ravenlab/protocol';
import { CREDIT_LIMITS, amountText, totalBytes } from '@ravenlab/protocol';
import type { ChainPolicy } from '../../worker/src/wallet/checklist.js';
import { checkTerms } from '../../worker/src/wallet/checklist.js';
import { PayDesk } from '../../worker/src/wallet/payDesk.js';
import { Escrow } from '../contracts/lib/escrow.js';
import { Stage } from '../contracts/lib/stage.js';
import { ScriptedEngine, ended, soon } from './lib/scriptedEngine.js';
import { ScriptedPayer } from './lib/scriptedPayer.js';

const WORKER = join(__dirname, '..', '..', 'worker', 'dist', 'cli.js');
/** No simulated chain: what is said on it counts. */
const CHAIN_ID = 4_242;
const CAP = 100_000n;
const ETHER = 10n ** 18n;
const HOUR_S = 3_600;
const PAYEE = `0x${'d'.repeat(40)}` as Address;

const KEY = { kind: 'key', seedLow: 1, seedHigh: 2, step: 3 } as const satisfies RunInput;
/** key → sum of its four words. */
const PROGRAM: Program = {
  inputs: [{ dtype: 'int32', shape: [4] }],
  nodes: [
    {
      op: 'sum',
      inputs: [0],
      params: { axes: [0], keepDims: false },
      type: { dtype: 'int32', shape: [] },
    },
  ],
  outputs: [1],
};

let stage: Stage;
let escrow: Escrow;
let engine: ScriptedEngine;
let payer: ScriptedPayer;
const homes: string[] = [];

beforeAll(async () => {
  stage = await Stage.start(CHAIN_ID);
  escrow = await Escrow.deploy(stage);
});
afterAll(() => stage.stop());

beforeEach(async () => {
  engine = await ScriptedEngine.start({ isRemote: true });
  payer = await ScriptedPayer.open(engine, escrow);
});
afterEach(async () => {
  await engine.stop();
  for (const home of homes.splice(0)) rmSync(home, { recursive: true, force: true });
});

const start = (...args: string[]) =>
  engine.spawnJoin('secret', '--rpc', stage.chain.url, '--token', payer.token, ...args);

/** A worker that works for the job. */
async function accepted(...args: string[]) {
  const child = start(...args);
  const { payee } = await payer.admit();
  await payer.reserve(payee, CAP);
  await engine.send(payer.terms());
  const { voucher } = await engine.next('presented');
  expect(await engine.next('accept')).toMatchObject({ job: payer.job });
  await engine.define(0, PROGRAM);
  return { child, payee, presented: voucher };
}

async function work(units: number): Promise<DoneUnit[]> {
  const leases = await engine.run({ program: 0, inputs: [KEY], units });
  const done = await engine.results(leases.length);
  expect(done.map(({ lease }) => lease)).toEqual(leases);
  return done;
}

/** A voucher for the results, and the acknowledgement that it is on the worker's disk. */
async function pay(payee: Address, units: readonly DoneUnit[]): Promise<void> {
  const lines = payer.receipts(PROGRAM, payee, units);
  const voucher = payer.voucher(payee);
  await engine.send({ kind: 'voucher', voucher, lines });
  expect(await engine.next('voucherAck')).toMatchObject({ job: payer.job, seq: voucher.seq });
}

/** What a person asks of a wallet. */
async function ask(
  home: string,
  ...args: string[]
): Promise<{ code: number | null; output: string }> {
  const child = spawn(process.execPath, [WORKER, ...args], {
    env: { ...process.env, RAVENLAB_HOME: home },
  });
  return ended(child);
}

const giveEther = (account: string, wei: bigint) =>
  stage.rpc.call('anvil_setBalance', [account, `0x${wei.toString(16)}`]);

const coins = (amount: bigint): string => `${amountText(amount, 6)} SUSD`;

test('earns, survives kill -9, goes on where it was, and redeems exactly what it was promised', async () => {
  const { child, payee, presented } = await accepted();
  expect(presented).toBeNull();
  const first = await work(5);
  for (const unit of first) {
    if (unit.status !== 'ok' || unit.outputs === null) throw new Error(JSON.stringify(unit));
    const hash = createHash('sha256');
    for (const chunks of unit.outputs) for (const chunk of chunks) hash.update(chunk);
    expect(totalBytes(unit.outputs[0]!)).toBe(4);
    expect(unit.digest).toBe(`0x${hash.digest('hex')}`);
  }
  await pay(payee, first);
  const promised = payer.earned;
  await work(2);
  child.kill('SIGKILL');
  await soon(once(child, 'exit'), 'end of the worker');

  const again = await accepted();
  expect(again.payee).toBe(payee);
  expect(again.presented).toMatchObject({ seq: 1, cumulative: promised });
  await pay(payee, await work(3));
  again.child.kill('SIGKILL');
  await soon(once(again.child, 'exit'), 'end of the worker');

  const earnings = await ask(engine.home, 'earnings', '--rpc', stage.chain.url);
  expect(earnings.output).toContain(`promised   ${coins(payer.earned)} by voucher 2`);
  expect(earnings.output).toContain('redeemed   0 SUSD');
  await giveEther(payee, ETHER);
  const redeemed = await ask(engine.home, 'redeem', '--rpc', stage.chain.url, '--force');
  expect(redeemed.output).toContain(`${coins(payer.earned)} paid to ${payee}`);
  expect(redeemed.code).toBe(0);
  expect(await escrow.balance(payee)).toBe(payer.earned);
  const twice = await ask(engine.home, 'redeem', '--rpc', stage.chain.url);
  expect(twice).toMatchObject({ code: 0 });
  expect(twice.output).toContain(`all of ${coins(payer.earned)} was redeemed before`);
});

test('without ether it is redeemed by anybody, who can take nothing', async () => {
  const { child, payee } = await accepted();
  await pay(payee, await work(4));
  child.kill('SIGKILL');
  const alone = await ask(engine.home, 'redeem', '--rpc', stage.chain.url);
  expect(alone.code).toBe(1);
  expect(alone.output).toMatch(/has 0 ether for gas, up to .* needed.*redeem --relay <file>/);

  const file = join(engine.home, 'requests.json');
  const written = await ask(engine.home, 'redeem', '--relay', file);
  expect(written).toMatchObject({ code: 0 });
  const relayer = mkdtempSync(join(tmpdir(), 'ravenlab-relayer-'));
  homes.push(relayer);
  const unfunded = await ask(relayer, 'relay', file, '--rpc', stage.chain.url);
  const address = /(0x[0-9a-f]{40}) has 0 ether/.exec(unfunded.output)?.[1];
  if (address === undefined) throw new Error(unfunded.output);
  await giveEther(address, ETHER);
  const relayed = await ask(relayer, 'relay', file, '--rpc', stage.chain.url);
  expect(relayed.output).toContain(`${String(payer.earned)} base units paid to ${payee}`);
  expect(relayed.code).toBe(0);
  expect(await escrow.balance(payee)).toBe(payer.earned);
  expect(await escrow.balance(address)).toBe(0n);
});

test('does not pay more for gas than it brings, unless it is told to', async () => {
  const { child, payee } = await accepted();
  await pay(payee, await work(1));
  child.kill('SIGKILL');
  await giveEther(payee, ETHER);
  const refused = await ask(engine.home, 'redeem', '--rpc', stage.chain.url);
  expect(refused.code).toBe(1);
  expect(refused.output).toMatch(/the gas costs about 0\.\d+ ether.*voucher brings.*--force/);
  expect(await escrow.balance(payee)).toBe(0n);
  const cheap = await ask(
    engine.home,
    'redeem',
    '--rpc',
    stage.chain.url,
    '--ether-price',
    '0.001',
  );
  expect(cheap.code).toBe(0);
  expect(await escrow.balance(payee)).toBe(payer.earned);
});

test('a wallet is made once, for its owner alone, and shown without its key', async () => {
  const child = start('--no-pay');
  expect((await engine.welcome()).payee).toBeNull();
  child.kill('SIGKILL');
  expect((await ask(engine.home, 'wallet')).output).toContain('there is no wallet 1 yet');
  const paid = start();
  const { payee } = await payer.admit();
  paid.kill('SIGKILL');
  const said = await ended(paid);
  expect(said.output).toContain(`A wallet was made for this worker: ${payee}`);
  const folder = join(engine.home, 'worker', 'wallet-1');
  for (const name of ['keystore.json', 'password']) {
    expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600);
  }
  const shown = await ask(engine.home, 'wallet', '--rpc', stage.chain.url);
  expect(shown.output).toContain(`address    ${payee}`);
  expect(shown.output).toContain(`keystore   ${join(folder, 'keystore.json')}`);
  const password = readFileSync(join(folder, 'password'), 'utf8').trim();
  expect(`${shown.output}${said.output}`).not.toContain(password);
});

test('does not sign for another engine', async () => {
  const child = start();
  await engine.next('hello');
  const serverKey = 'rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7';
  await engine.send(payer.challenge({ serverKey }));
  expect((await engine.next('bye')).message).toContain('signature for another engine');
  expect((await ended(child)).code).toBe(1);
});

describe('a job is not taken', () => {
  const check = (
    change: Partial<TermsMessage> = {},
    policy: Partial<ChainPolicy> = {},
    from: ScriptedPayer = payer,
  ) =>
    checkTerms(from.terms(change), {
      policy: {
        rpcUrl: stage.chain.url,
        tokens: [payer.token],
        trustsUnchecked: false,
        ...policy,
      },
      payee: PAYEE,
      serverKey: engine.keys.publicKey,
      nowMs: Date.now,
    });

  test('whose claim another key signed', async () => {
    const signer = escrow.cast.payer.toLowerCase() as Address;
    await expect(check({ signer })).rejects.toThrow(/does not show that it works for job/);
    await expect(check({ chainId: 1 })).rejects.toThrow(/does not show that it works for job/);
  });

  test('whose payer, token or decimals are others on the chain', async () => {
    const other = `0x${'9'.repeat(40)}` as Address;
    await expect(check({ payer: other })).rejects.toThrow(
      /payer is 0x[0-9a-f]{40} on the chain, the engine says 0x9999/,
    );
    await expect(check({ token: other })).rejects.toThrow(/job's token is/);
    await expect(check({ decimals: 18 })).rejects.toThrow(/has 6 decimals, the engine says 18/);
  });

  test('that is paid in a token nobody asked for', async () => {
    await expect(check({}, { tokens: [] })).rejects.toThrow(
      /pays in SUSD \(token 0x[0-9a-f]{40} on chain 4242\), which is not on your list.*--token 0x/,
    );
  });

  test('on a chain that cannot be looked at, unless the owner trusts the engine', async () => {
    const rpcUrl = null;
    await expect(check({}, { rpcUrl })).rejects.toThrow(/Name an RPC URL of that chain with --rpc/);
    const cap = 7n;
    const trusted = await check({ cap }, { rpcUrl, trustsUnchecked: true });
    expect(trusted).toMatchObject({ basis: 'trusted', deal: { cap } });
  });

  test('when the node is another chain’s, or does not answer', async () => {
    const other = await Stage.start();
    try {
      await expect(check({}, { rpcUrl: other.chain.url })).rejects.toThrow(
        /is chain 31337, expected chain 4242/,
      );
    } finally {
      await other.stop();
    }
    await expect(check({}, { rpcUrl: other.chain.url })).rejects.toMatchObject({ retryable: true });
  });

  test('when the escrow is no contract of ours', async () => {
    const token = escrow.token.address.toLowerCase() as Address;
    await expect(check(payer.claimAt(token))).rejects.toThrow(/is not the LaneEscrow/);
    const nobody = `0x${'8'.repeat(40)}` as Address;
    await expect(check(payer.claimAt(nobody))).rejects.toThrow(/there is no contract at/);
  });

  test('that expires before there is time to redeem', async () => {
    const expiry = (await stage.now()) + HOUR_S;
    const soonOver = await ScriptedPayer.open(engine, escrow, { expiry });
    await expect(check({}, {}, soonOver)).rejects.toThrow(/expires .* in 1\.0 h; at least 8\.0 h/);
  });

  test('by somebody whose key everybody knows', async () => {
    const known = escrow.cast.ann.address.toLowerCase() as Address;
    const { tokens } = { tokens: [payer.token] };
    const policy = { rpcUrl: stage.chain.url, tokens, trustsUnchecked: false };
    const options = { policy, payee: known, serverKey: engine.keys.publicKey, nowMs: Date.now };
    await expect(checkTerms(payer.terms(), options)).rejects.toThrow(/whose keys everybody knows/);
  });

  test('and the worker says so, and leaves', async () => {
    const child = engine.spawnJoin('secret', '--rpc', stage.chain.url);
    await payer.admit();
    await engine.send(payer.terms());
    await engine.next('presented');
    expect((await engine.next('bye')).message).toMatch(/which is not on your list/);
    const { code, output } = await ended(child);
    expect(output).toMatch(/which is not on your list/);
    expect(code).toBe(1);
  });

  test('before anything is reserved, and then it is', async () => {
    start();
    const { payee } = await payer.admit();
    await engine.send(payer.terms({ cap: CAP }));
    await engine.next('presented');
    await payer.reserve(payee, CAP);
    await engine.send(payer.terms());
    expect(await engine.next('accept')).toMatchObject({ job: payer.job });
  });
});

test('leaves whoever pays less than the work costs, and keeps what it was given', async () => {
  const { child, payee } = await accepted();
  const units = await work(2);
  const lines = payer.receipts(PROGRAM, payee, units, { amount: 1n });
  await engine.send({ kind: 'voucher', voucher: payer.voucher(payee), lines });
  expect((await engine.next('bye')).message).toMatch(/does not pay what was agreed.*underpaid/);
  expect((await ended(child)).code).toBe(1);
  const { output } = await ask(engine.home, 'earnings');
  expect(output).toContain(`promised   ${coins(2n)} by voucher 1`);
});

test('a voucher that is worth nothing is neither kept nor acknowledged', async () => {
  const { child, payee } = await accepted();
  await pay(payee, await work(1));
  await engine.send({
    kind: 'voucher',
    voucher: payer.voucher(payee, { cumulative: CAP + 1n }),
    lines: [],
  });
  expect((await engine.next('bye')).message).toMatch(/overCap/);
  await ended(child);
  const { output } = await ask(engine.home, 'earnings');
  expect(output).toContain(`promised   ${coins(payer.earned)} by voucher 1`);
});

test('runs nothing while too much is owed, and goes on when a voucher comes', async () => {
  const { payee } = await accepted();
  const done = await work(CREDIT_LIMITS.windowUnits + 1);
  const [lease] = await engine.run({ program: 0, inputs: [KEY] });
  // In order on one connection: had the unit been run, its answer would be before the acknowledgement.
  const paid = payer.receipts(PROGRAM, payee, done.slice(0, 1));
  await engine.send({ kind: 'voucher', voucher: payer.voucher(payee), lines: paid });
  const [ack, answer] = [
    await engine.either('voucherAck', 'done'),
    await engine.either('voucherAck', 'done'),
  ];
  expect(ack.kind).toBe('voucherAck');
  expect(answer).toMatchObject({ kind: 'done', units: [{ lease, status: 'ok' }] });
});

test('leaves with the last voucher, when it is stopped', async () => {
  const { child, payee } = await accepted();
  const done = await work(3);
  child.kill('SIGINT');
  expect(await engine.next('bye')).toMatchObject({ reason: 'drain' });
  await pay(payee, done);
  expect(await engine.next('bye')).toMatchObject({ reason: 'leave' });
  const { code, output } = await ended(child);
  expect(output).toContain('waiting for the last voucher');
  expect(code).toBe(0);
});

test('redeems by itself before its job expires, and leaves', async () => {
  const expiry = (await stage.now()) + 9 * HOUR_S;
  const short = await ScriptedPayer.open(engine, escrow, { expiry });
  const account = accountOf(`0x${'5'.repeat(64)}`);
  await giveEther(account.address, ETHER);
  await short.reserve(account.address, CAP);
  const said: WorkerToEngine[] = [];
  const home = mkdtempSync(join(tmpdir(), 'ravenlab-desk-'));
  homes.push(home);
  const left = new Promise<string>((resolve) => {
    const desk = new PayDesk(
      {
        ...{ account, lanes: home, clientKey: engine.keys.publicKey, gflops: 1, nowMs: Date.now },
        serverKey: engine.keys.publicKey,
        policy: { rpcUrl: stage.chain.url, tokens: [payer.token], trustsUnchecked: false },
        recheckMs: 100,
      },
      {
        send: (message) => {
          said.push(message);
          if (message.kind === 'voucherAck') void stage.setTime(expiry - 5 * HOUR_S);
        },
        changed: () => undefined,
        shown: () => undefined,
        notice: () => undefined,
        left: (_reason, error) => {
          void desk.close().then(() => resolve(error.message));
        },
      },
    );
    desk.receive(short.terms());
    const voucher = short.voucher(account.address, { cumulative: 77n });
    desk.receive({ kind: 'voucher', voucher, lines: [] });
  });
  expect(await soon(left, 'alarm')).toMatch(/the job expires .*; 0\.000077 SUSD were redeemed/);
  expect(said.map(({ kind }) => kind)).toEqual(['presented', 'accept', 'voucherAck']);
  expect(await escrow.balance(account.address)).toBe(77n);
});
