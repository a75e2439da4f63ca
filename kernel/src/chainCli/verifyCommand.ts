/** @file `chain verify`: an exported ledger hashed again by whoever does not trust it, and held against what the chain paid. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { ChainClient, EscrowClient, parseAddress } from '@ravenlab/contracts';
import type { EscrowEvent } from '@ravenlab/contracts';
import type { Address, Hash32 } from '@ravenlab/protocol';
import { CHAIN_LIMITS, ChainError } from '@ravenlab/protocol';
import type { LedgerLog, LogLane } from '../core/ledger/ledgerLog.js';
import { readLedgerLog } from '../core/ledger/ledgerLog.js';
import type { Arguments } from './arguments.js';
import type { Env, Say } from './desk.js';

const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();

/** Alone, the file is hashed; with --rpc, --chain-id and --escrow, each payment of the chain has to be covered by it. */
export async function verify(args: Arguments, _env: Env, say: Say): Promise<void> {
  const file = resolve(args.word(1, 'the exported ledger'));
  const log = readLedgerLog(readFileSync(file, 'utf8'), sha256);
  for (const { payee, count, earned, head, verdicts } of log.lanes) {
    say(
      `${payee}: ${String(count)} receipts, ${String(verdicts.refused)} refused, ${earned.toString()} base units, head ${head}`,
    );
  }
  if (args.option('rpc') === null) {
    say('every line hashes to its head; --rpc, --chain-id and --escrow compare with the chain');
    return;
  }
  const chain = await ChainClient.open(args.required('rpc'), args.whole('chain-id', null));
  const escrow = await EscrowClient.at(chain, parseAddress(args.required('escrow'), 'escrow'));
  for (const lane of log.lanes) await compare(log, lane, escrow, say);
}

async function compare(
  log: LedgerLog,
  lane: LogLane,
  escrow: EscrowClient,
  say: Say,
): Promise<void> {
  const head = await escrow.chain.blockNumber();
  let paid = 0n;
  for (let from = 0; from <= head; from += CHAIN_LIMITS.logBlocks) {
    const to = Math.min(head, from + CHAIN_LIMITS.logBlocks - 1);
    for (const event of await escrow.events(lane.job, { from, to })) {
      const payee = String(event.values['payee']).toLowerCase() as Address;
      if (event.name !== 'Paid' || payee !== lane.payee) continue;
      paid = event.values['cumulative'] as bigint;
      checkPaid(log, lane, event, paid);
    }
  }
  say(`${lane.payee}: the chain has paid ${paid.toString()}, all of it covered by these lines`);
}

/** The head of a payment names lines of this lane, or a settlement of several; it must be worth what was paid. */
function checkPaid(log: LedgerLog, lane: LogLane, { values, log: at }: EscrowEvent, paid: bigint) {
  const head = String(values['ledgerHead']).toLowerCase() as Hash32;
  const point = lane.points.get(head) ?? log.settlements.get(head)?.get(lane.payee);
  if (point !== undefined && paid <= point.earned) return;
  throw new ChainError(
    `block ${String(at.blockNumber)} pays ${lane.payee} ${paid.toString()} for head ${head}: ` +
      (point === undefined
        ? 'no line of this file ends there'
        : `the lines up to there are worth ${point.earned.toString()}`),
    { fault: 'user' },
  );
}
