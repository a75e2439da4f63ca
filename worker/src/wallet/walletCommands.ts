/** @file What a person asks of a wallet: where it is, what it earned, and to turn vouchers into money. Text out; no worker needed. */
import { readFileSync, writeFileSync } from 'node:fs';
import type { Account } from '@ravenlab/contracts';
import { ChainClient, SIMULATED_CHAIN_ID, readToken, tokenBalance } from '@ravenlab/contracts';
import { ChainError, WALLET_LIMITS, amountText } from '@ravenlab/protocol';
import type { WalletCommand } from '../arguments.js';
import { lookAtLane } from './checklist.js';
import type { LaneRecord } from './laneRecord.js';
import { logFile, readLanes } from './laneStore.js';
import type { RedeemRequest } from './redeem.js';
import { parseRequests, redeem, utc, writeRequests } from './redeem.js';
import type { WalletPaths } from './wallet.js';
import { openWallet, walletAddress, walletPaths } from './wallet.js';

type Print = (line: string) => void;
type Of<K extends WalletCommand['kind']> = WalletCommand & { readonly kind: K };

const REQUEST_MODE = 0o600;

/**
 * Carries out a command.
 * @returns false when a voucher could not be redeemed; each is told with its reason.
 * @throws ChainError, RavenError with words for the person who asked.
 */
export async function walletCommand(
  command: WalletCommand,
  home: string,
  print: Print,
): Promise<boolean> {
  const paths = walletPaths(home, command.slot);
  switch (command.kind) {
    case 'wallet':
      await showWallet(command, paths, print);
      return true;
    case 'earnings':
      await showEarnings(command, paths, print);
      return true;
    case 'redeem':
      return redeemLanes(command, paths, print);
    case 'relay':
      return relay(command, paths, print);
  }
}

async function showWallet({ slot, rpcUrl }: WalletCommand, paths: WalletPaths, print: Print) {
  const address = walletAddress(paths);
  if (address === null) {
    print(`there is no wallet ${String(slot)} yet: the first \`join\` of a cluster makes it`);
    return;
  }
  print(`wallet ${String(slot)}`);
  print(`  address    ${address}`);
  print(`  keystore   ${paths.keystore}`);
  print(`  password   ${paths.password}, unless you chose your own`);
  print(`  vouchers   ${paths.lanes}`);
  print(
    '  Whoever has keystore and password has the money. Other wallets import the keystore as it is (Web3 JSON, v3).',
  );
  if (rpcUrl === null) {
    print('  With --rpc <url> of a chain this shows what the address has there.');
    return;
  }
  const chain = await ChainClient.open(rpcUrl, null);
  print(
    `  ether      ${amountText(await chain.etherOf(address), 18)} on chain ${String(chain.chainId)}`,
  );
  const lanes = (await readLanes(paths.lanes)).filter(({ deal }) => deal.chainId === chain.chainId);
  for (const token of new Set(lanes.map(({ deal }) => deal.token))) {
    const { symbol, decimals } = await readToken(chain, token);
    const balance = await tokenBalance(chain, token, address);
    print(`  ${symbol.padEnd(11)}${amountText(balance, decimals)} (token ${token})`);
  }
}

async function showEarnings(command: WalletCommand, paths: WalletPaths, print: Print) {
  const lanes = await chosenLanes(command, paths);
  if (lanes.length === 0) print('nothing was earned yet');
  const chainId = await chainIdOf(command.rpcUrl);
  for (const record of lanes) {
    const { deal, chain, voucher } = record;
    const money = (amount: bigint) => moneyText(amount, record);
    const isSeen = deal.chainId === chainId && command.rpcUrl !== null;
    const seen = isSeen ? await lookAtLane(deal, command.rpcUrl) : null;
    const promised = voucher?.cumulative ?? 0n;
    const kind = deal.chainId === SIMULATED_CHAIN_ID ? ', simulated: worth nothing' : '';
    print(`job ${deal.job}`);
    print(`  chain      ${String(deal.chainId)}${kind} · escrow ${deal.escrow}`);
    print(`  expires    ${utc(seen?.expiry ?? deal.expiry)}; redeemed until a day later`);
    print(`  earned     ${money(chain.earned)} by ${String(chain.count)} receipts`);
    print(
      `  promised   ${money(promised)}${voucher === null ? '' : ` by voucher ${String(voucher.seq)}`}`,
    );
    print(
      `  redeemed   ${seen === null ? 'unknown; --rpc <url> of that chain shows it' : money(seen.paid)}`,
    );
    print(`  at risk    ${money(record.atRisk)} when last promised`);
    print(`  receipts   ${logFile(paths.lanes, deal.job)}`);
  }
}

async function redeemLanes(
  command: Of<'redeem'>,
  paths: WalletPaths,
  print: Print,
): Promise<boolean> {
  const lanes = await chosenLanes(command, paths);
  const due = lanes.flatMap((record) => {
    const { voucher, deal } = record;
    if (voucher === null) return [];
    return [{ record, request: { chainId: deal.chainId, escrow: deal.escrow, voucher } }];
  });
  if (due.length === 0) {
    print('there is no voucher to redeem');
    return true;
  }
  if (command.relay !== null) {
    const text = writeRequests(due.map(({ request }) => request));
    if (command.relay === '-') print(text.trimEnd());
    else writeFileSync(command.relay, text, { mode: REQUEST_MODE });
    if (command.relay !== '-') {
      print(
        `${String(due.length)} requests are in ${command.relay}. Whoever submits them pays the gas and can take nothing: ` +
          `npm run worker -- relay ${command.relay} --rpc <url>`,
      );
    }
    return true;
  }
  const account = await accountOf(command, paths, print);
  return redeemAll(due, { command, account, print });
}

async function relay(command: Of<'relay'>, paths: WalletPaths, print: Print): Promise<boolean> {
  const bytes = readFileSync(command.file);
  if (bytes.byteLength > WALLET_LIMITS.requestBytes) {
    throw new ChainError(
      `${command.file} has ${String(bytes.byteLength)} bytes, at most ${String(WALLET_LIMITS.requestBytes)} are expected`,
      { fault: 'user' },
    );
  }
  const requests = parseRequests(bytes.toString('utf8'));
  const account = await accountOf(command, paths, print);
  const due = requests.map((request) => ({ record: null, request }));
  return redeemAll(due, { command, account, print });
}

/** One after the other, because they share an account's nonces; what fails is told and does not stop the rest. */
async function redeemAll(
  due: readonly { readonly record: LaneRecord | null; readonly request: RedeemRequest }[],
  options: {
    readonly command: WalletCommand;
    readonly account: Account;
    readonly print: Print;
  },
): Promise<boolean> {
  const { command, account, print } = options;
  const { isForced, etherPrice } = command;
  const rpcUrl = rpcOf(command);
  const { chainId } = await ChainClient.open(rpcUrl, null);
  let isFine = true;
  for (const { record, request } of due) {
    const { job, payee } = request.voucher;
    const name = `job ${job.slice(0, 10)}…`;
    if (request.chainId !== chainId) {
      print(
        `${name}: is on chain ${String(request.chainId)}, ${String(chainId)} is asked; left for later`,
      );
      continue;
    }
    try {
      const decimals = record?.deal.decimals ?? null;
      const redeemed = await redeem(request, {
        ...{ rpcUrl, account, isForced },
        etherPrice: decimals === null ? null : { coins: etherPrice, decimals },
      });
      const money = (amount: bigint) =>
        record === null ? `${String(amount)} base units` : moneyText(amount, record);
      print(
        redeemed.hash === null
          ? `${name}: all of ${money(redeemed.paid)} was redeemed before`
          : `${name}: ${money(redeemed.amount)} paid to ${payee}, transaction ${redeemed.hash}; ${money(redeemed.paid)} in all`,
      );
    } catch (error) {
      if (!(error instanceof ChainError)) throw error;
      isFine = false;
      print(`${name}: ${error.message}`);
    }
  }
  return isFine;
}

async function chosenLanes({ job }: WalletCommand, { lanes }: WalletPaths) {
  return (await readLanes(lanes)).filter(({ deal }) => deal.job.startsWith(job));
}

async function chainIdOf(rpcUrl: string | null): Promise<number | null> {
  return rpcUrl === null ? null : (await ChainClient.open(rpcUrl, null)).chainId;
}

function rpcOf({ rpcUrl }: WalletCommand): string {
  if (rpcUrl !== null) return rpcUrl;
  throw new ChainError(
    'redeeming needs a node of the chain: name it with --rpc <url> or RAVENLAB_CHAIN_RPC; without ether for gas, ' +
      'redeem --relay <file> writes a request for somebody who has',
    { fault: 'user' },
  );
}

async function accountOf(
  command: WalletCommand,
  paths: WalletPaths,
  print: Print,
): Promise<Account> {
  rpcOf(command);
  const { password } = command;
  return (await openWallet({ paths, password, warn: print })).account;
}

function moneyText(amount: bigint, { deal }: LaneRecord): string {
  return `${amountText(amount, deal.decimals)} ${deal.tokenSymbol}`;
}
