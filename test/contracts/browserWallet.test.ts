/**
 * @file Deposits and refunds of the panel, signed by a wallet as a browser has one: calls built without the ABI, against the real
 * escrow on a real chain. The wallet is the chain's node, which holds the keys and answers EIP-1193's questions.
 */
import type { Address, JobId, PaymentChain } from '@ravenlab/protocol';
import type { WalletProvider } from '../../extension/src/model/wallet.js';
import { WalletJob } from '../../extension/src/model/wallet.js';
import { DAY_S, Escrow, GRACE_S } from './lib/escrow.js';
import { Stage } from './lib/stage.js';

let stage: Stage;
let escrow: Escrow;

beforeAll(async () => {
  stage = await Stage.start();
  escrow = await Escrow.deploy(stage);
});

afterAll(async () => {
  await stage.stop();
});

interface WalletOnStage {
  readonly provider: WalletProvider;
  /** Methods that were asked for, in order. */
  readonly asked: string[];
}

/** @param answers what this wallet answers itself; the node answers the rest. */
function walletOf(
  account: string,
  answers: Readonly<Record<string, (params: readonly unknown[]) => unknown>> = {},
): WalletOnStage {
  const asked: string[] = [];
  const request: WalletProvider['request'] = async ({ method, params = [] }) => {
    asked.push(method);
    const own = answers[method];
    if (own !== undefined) return own(params);
    return method === 'eth_requestAccounts' ? [account] : stage.rpc.call(method, params);
  };
  return { provider: { request }, asked };
}

function chainOf(job: string, changes: Partial<PaymentChain> = {}): PaymentChain {
  return {
    label: 'stage',
    chainId: stage.chain.chainId,
    isSimulated: true,
    escrow: escrow.contract.address.toLowerCase() as Address,
    token: escrow.token.address.toLowerCase() as Address,
    job: job as JobId,
    payer: escrow.cast.payer.toLowerCase() as Address,
    signer: escrow.cast.signer.address.toLowerCase() as Address,
    isPayerHere: false,
    explorerUrl: null,
    ...changes,
  };
}

function jobIn(
  { provider }: WalletOnStage,
  chain: PaymentChain,
  pause = () => Promise.resolve(),
): WalletJob {
  return new WalletJob({ wallet: { id: 'w', name: 'Test wallet', provider }, chain, pause });
}

const sent = ({ asked }: WalletOnStage) =>
  asked.filter((method) => method === 'eth_sendTransaction').length;

test('a deposit is approved for exactly its amount, then credited; an approval that is there is used', async () => {
  const { payer } = escrow.cast;
  const { id, expiry } = await escrow.open({ amount: 100n });
  await escrow.token.send('mint', [payer, 1_000n]);
  const wallet = walletOf(payer);
  await jobIn(wallet, chainOf(id)).deposit(250n);
  expect(await escrow.job(id)).toMatchObject({ free: 350n, expiry: BigInt(expiry) });
  expect(sent(wallet)).toBe(2);
  const left = await escrow.token.view('allowance', [payer, escrow.contract.address]);
  expect(left).toBe(0n);

  await stage.rpc.call('eth_sendTransaction', [
    { from: payer, to: escrow.token.address, data: approveAll() },
  ]);
  const second = walletOf(payer);
  await jobIn(second, chainOf(id)).deposit(10n);
  expect(sent(second)).toBe(1);
  expect((await escrow.job(id)).free).toBe(360n);
});

function approveAll(): string {
  return escrow.token.iface.encodeFunctionData('approve', [escrow.contract.address, 1_000n]);
}

test('an expiry moves, and a refund brings back what is free', async () => {
  const { payer } = escrow.cast;
  const { id, expiry } = await escrow.open({ amount: 70n });
  await jobIn(walletOf(payer), chainOf(id)).extend(BigInt(expiry + DAY_S));
  expect((await escrow.job(id)).expiry).toBe(BigInt(expiry + DAY_S));
  const before = await escrow.balance(payer);
  await jobIn(walletOf(payer), chainOf(id)).refund();
  expect((await escrow.balance(payer)) - before).toBe(70n);
});

describe('nothing is signed', () => {
  const refusals: readonly (readonly [
    string,
    () => Promise<readonly [WalletOnStage, PaymentChain]>,
    RegExp,
  ])[] = [
    [
      'by an account that is not the payer',
      async () => [walletOf(escrow.cast.relayer), chainOf((await escrow.open()).id)],
      /the job's payer is 0x/,
    ],
    [
      'for a job that the escrow does not know',
      () => Promise.resolve([walletOf(escrow.cast.payer), chainOf(`0x${'9'.repeat(64)}`)]),
      /knows the job otherwise.*nothing was signed/s,
    ],
    [
      'when the kernel names another token',
      async () => [
        walletOf(escrow.cast.payer),
        chainOf((await escrow.open()).id, { token: `0x${'7'.repeat(40)}` as Address }),
      ],
      /knows the job otherwise/,
    ],
    [
      'on a chain that the wallet does not know',
      async () => [
        walletOf(escrow.cast.payer, {
          wallet_switchEthereumChain: () => {
            throw Object.assign(new Error('unknown chain'), { code: 4902 });
          },
        }),
        chainOf((await escrow.open()).id, { chainId: 8453 }),
      ],
      /does not know stage \(chain 8453\); add it/,
    ],
    [
      'by a wallet that only says that it switched',
      async () => [
        walletOf(escrow.cast.payer, { wallet_switchEthereumChain: () => null }),
        chainOf((await escrow.open()).id, { chainId: 8453 }),
      ],
      /the wallet is on chain 0x7a69, the job on 0x2105/,
    ],
    [
      'when the user says no to connecting',
      async () => [
        walletOf(escrow.cast.payer, {
          eth_requestAccounts: () => {
            throw Object.assign(new Error('User rejected the request.'), { code: 4001 });
          },
        }),
        chainOf((await escrow.open()).id),
      ],
      /User rejected/,
    ],
  ];
  test.each(refusals)('%s', async (_name, prepare, expected) => {
    const [wallet, chain] = await prepare();
    await expect(jobIn(wallet, chain).deposit(1n)).rejects.toThrow(expected);
    expect(sent(wallet)).toBe(0);
  });
});

test('a reverted transaction is told as one: nothing has moved', async () => {
  const { payer } = escrow.cast;
  const { id, expiry } = await escrow.open({ amount: 5n });
  await stage.setTime(expiry + GRACE_S + 1);
  const wallet = walletOf(payer, {
    // Wallets estimate gas and refuse; one that does not has its transaction reverted.
    eth_sendTransaction: ([call]) =>
      stage.rpc.call('eth_sendTransaction', [{ ...(call as object), gas: '0xf4240' }]),
  });
  await expect(jobIn(wallet, chainOf(id)).extend(BigInt(expiry + 9 * DAY_S))).rejects.toThrow(
    /was reverted: nothing has moved/,
  );
});
