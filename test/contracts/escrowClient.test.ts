/** @file The typed client against a real chain: what it reads, what it refuses, and the words that it has for each. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Address, Hash32, JobId } from '@ravenlab/protocol';
import { CHAIN_LIMITS } from '@ravenlab/protocol';
import { startSimulatedChain } from '../../contracts/src/anvil.js';
import type { SimulatedChain } from '../../contracts/src/anvil.js';
import { ChainClient } from '../../contracts/src/chainClient.js';
import { devAccounts } from '../../contracts/src/devAccounts.js';
import {
  EscrowClient,
  deployData,
  escrowCalls,
  parseAddress,
  readToken,
  refusalText,
  tokenAllowance,
  tokenBalance,
  tokenCalls,
} from '../../contracts/src/escrowClient.js';
import { Rpc, withoutSecrets } from '../../contracts/src/rpc.js';
import { escrowSignatures } from '../../contracts/src/signing.js';

const [payer, signer, payee] = devAccounts() as Account3;
type Account3 = [Account, Account, Account];
type Account = ReturnType<typeof devAccounts>[number];

const HEAD = `0x${'cd'.repeat(32)}` as Hash32;
let simulated: SimulatedChain;
let chain: ChainClient;
let escrow: EscrowClient;
let token: Address;

/** Signs, sends and waits: what the outbox does with more care. */
async function send(to: Address | null, data: string, key = payer) {
  const { maxFeePerGas, maxPriorityFeePerGas } = await chain.fees();
  const gasLimit = await chain.estimateGas({ from: key.address, to, data });
  const nonce = await chain.nonceOf(key.address);
  const draft = { to, data, nonce, gasLimit, maxFeePerGas, maxPriorityFeePerGas };
  const { raw, hash } = chain.sign(draft, key);
  await chain.broadcast(raw);
  // A second time changes nothing.
  await chain.broadcast(raw).catch(() => undefined);
  for (let poll = 0; poll < 2_000; poll++) {
    const receipt = await chain.receipt(hash);
    if (receipt !== null) return receipt;
  }
  throw new Error('it was not mined');
}

beforeAll(async () => {
  simulated = await startSimulatedChain();
  chain = await ChainClient.open(simulated.url, 31_337);
  const deployed = await send(null, deployData('LaneEscrow'));
  escrow = await EscrowClient.at(chain, deployed.contract!);
  token = (await send(null, deployData('DevToken', ['Simulated dollar', 'SUSD', 6]))).contract!;
});

afterAll(() => simulated.stop());

async function openJob(amount: bigint): Promise<JobId> {
  const salt = `0x${Math.trunc(Number(amount)).toString(16).padStart(64, '0')}` as Hash32;
  await send(token, tokenCalls.mint(payer.address, amount));
  await send(token, tokenCalls.approve(escrow.address, amount));
  const { timestamp } = await chain.head();
  const job = { salt, token, signer: signer.address, amount, expiry: timestamp + 86_400 };
  await send(escrow.address, escrowCalls.open(job));
  return escrow.jobId(payer.address, salt);
}

test('a job is opened, reserved, redeemed and settled, and each amount is read back', async () => {
  const id = await openJob(1_000n);
  await send(escrow.address, escrowCalls.reserve(id, [payee.address], [600n]));
  expect(await escrow.job(id)).toMatchObject({
    ...{ payer: payer.address, signer: signer.address, token, free: 400n, reserved: 600n },
  });
  const voucher = { job: id, payee: payee.address, cumulative: 250n, seq: 1, ledgerHead: HEAD };
  const { sign } = escrowSignatures(31_337, escrow.address).voucher;
  const redeem = escrowCalls.redeem(id, [{ ...voucher, ...sign(voucher, signer) }]);
  await send(escrow.address, redeem, payee);
  expect(await escrow.lane(id, payee.address)).toEqual({ cap: 600n, paid: 250n, nonce: 1 });
  await send(escrow.address, escrowCalls.settle(id, [payee.address], [300n], HEAD));
  expect(await tokenBalance(chain, token, payee.address)).toBe(300n);
  expect(await tokenAllowance(chain, token, payer.address, escrow.address)).toBe(0n);
  const names = (await escrow.events(id, { from: 0, to: await chain.blockNumber() })).map(
    ({ name }) => name,
  );
  expect(names).toEqual(['Opened', 'Reserved', 'Paid', 'Paid']);
});

test('a refusal has the name and the numbers of the contract', async () => {
  const id = await openJob(50n);
  const data = escrowCalls.reserve(id, [payee.address], [51n]);
  const error: unknown = await chain
    .estimateGas({ from: payer.address, to: escrow.address, data })
    .catch((reason: unknown) => reason);
  expect(refusalText(error)).toBe('InsufficientFree(free 50, needed 51)');
  expect(refusalText(new Error('something else'))).toBeNull();
});

test('another chain id, an address without code, and another contract are refused', async () => {
  await expect(ChainClient.open(simulated.url, 8_453)).rejects.toThrow(
    /is chain 31337, expected chain 8453/,
  );
  await expect(EscrowClient.at(chain, payee.address)).rejects.toThrow(/there is no contract at 0x/);
  await expect(EscrowClient.at(chain, token)).rejects.toThrow(/not the LaneEscrow of this version/);
  expect(await escrow.job(HEAD as unknown as JobId)).toBeNull();
});

test('a token tells its decimals, and one that cannot is refused', async () => {
  expect(await readToken(chain, token)).toEqual({ address: token, symbol: 'SUSD', decimals: 6 });
  for (const other of [escrow.address, payee.address]) {
    await expect(readToken(chain, other)).rejects.toThrow(/does not say how many decimals it has/);
  }
});

test('a dead node, one that hangs, one that babbles and one that never ends each get a reason', async () => {
  const dead = new Rpc('http://127.0.0.1:1/secret-key', 500);
  await expect(dead.call('eth_chainId', [])).rejects.toThrow(
    /does not answer at http:\/\/127\.0\.0\.1:1\/…/,
  );
  const replies: Record<string, (write: (text: string) => void, end: () => void) => void> = {
    '/silent': () => undefined,
    '/html': (write, end) => {
      write('<html>');
      end();
    },
    '/list': (write, end) => {
      write('[1]');
      end();
    },
    '/empty': (write, end) => {
      write('{"jsonrpc":"2.0","id":1}');
      end();
    },
    '/number': (write, end) => {
      write('{"jsonrpc":"2.0","id":1,"result":"lots"}');
      end();
    },
    '/flood': (write) => {
      const chunk = 'x'.repeat(1 << 20);
      for (let sent = 0; sent <= CHAIN_LIMITS.rpcAnswerBytes; sent += chunk.length) write(chunk);
    },
  };
  const server = createServer((request, response) => {
    response.on('error', () => undefined);
    replies[request.url ?? '']?.(
      (text) => response.write(text),
      () => response.end(),
    );
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const url = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
  const ask = (path: string) => new Rpc(`${url}${path}`, 3_000).call('eth_chainId', []);
  await expect(new Rpc(`${url}/silent`, 200).call('eth_chainId', [])).rejects.toThrow(
    /no answer within 200 ms/,
  );
  await expect(ask('/html')).rejects.toThrow(/no JSON/);
  await expect(ask('/list')).rejects.toThrow(/no result/);
  await expect(ask('/empty')).rejects.toThrow(/no result/);
  await expect(ask('/flood')).rejects.toThrow(/longer than \d+ bytes/);
  await expect(ChainClient.open(`${url}/number`, 1)).rejects.toThrow(/eth_chainId is "lots"/);
  server.closeAllConnections();
  server.close();
});

test('URLs are shown without what providers hide in them, and addresses are checked', () => {
  expect(withoutSecrets('https://user:key@node.example/v3/abcdef?k=1')).toBe(
    'https://node.example/…',
  );
  expect(() => new Rpc('ftp://node')).toThrow(/expected http/);
  expect(parseAddress(`0x${'AB'.repeat(20)}`.toLowerCase(), 'token')).toBe(`0x${'ab'.repeat(20)}`);
  expect(() => parseAddress('0xABcdef', 'token')).toThrow(/token '0xABcdef' is no address/);
});
