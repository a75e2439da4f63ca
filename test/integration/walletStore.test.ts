/**
 * @file The worker's vouchers under `kill -9` at random moments: what was acknowledged is on the disk, and the receipts beside it are
 * those that it was given for.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { JobId } from '@ravenlab/protocol';
import { LaneStore, logFile, readLane } from '../../worker/src/wallet/laneStore.js';

const KILLS = 15;
const LINES_EACH = 3;
const STORE = join(__dirname, '..', '..', 'worker', 'dist', 'wallet', 'laneStore.js');
const JOB = `0x${'1'.repeat(64)}` as JobId;

/** Goes on from what is kept; says each number once it is kept. */
const WRITER = `
const [folder, job] = process.argv.slice(1);
const { LaneStore } = await import(${JSON.stringify(pathToFileURL(STORE).href)});
const hex = (digit, digits) => '0x' + digit.repeat(digits);
const store = await LaneStore.open(folder, job);
const [payer, signer, payee, token, escrow] = ['a', 'b', 'c', 'd', 'e'].map((d) => hex(d, 40));
const deal = { chainId: 1, escrow, job, payer, signer, payee, token, tokenSymbol: 'T', decimals: 6, expiry: 1, cap: 10n ** 20n };
for (let seq = (store.record?.voucher?.seq ?? 0) + 1; ; seq++) {
  const voucher = { job, payee, cumulative: BigInt(seq), seq, ledgerHead: hex('2', 64), r: hex('3', 64), vs: hex('4', 64) };
  const chain = { count: seq * ${String(LINES_EACH)}, earned: BigInt(seq), head: hex('2', 64) };
  const lines = Array.from({ length: ${String(LINES_EACH)} }, (_, i) => 'receipt ' + ((seq - 1) * ${String(LINES_EACH)} + i + 1));
  await store.save({ deal, chain, voucher, atRisk: 0n }, lines);
  process.stdout.write(seq + '\\n');
}
`;

const folder = mkdtempSync(join(tmpdir(), 'ravenlab-lanes-'));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Kills a writer after it has kept `after` vouchers and a moment more. @returns the last number that it said. */
async function writeAndKill(after: number, delayMs: number): Promise<number> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', WRITER, folder, JOB], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  await new Promise<void>((resolve) => {
    child.stdout.on('data', (text: Buffer) => {
      said += text.toString();
      if (said.split('\n').length > after) resolve();
    });
  });
  await new Promise((wake) => setTimeout(wake, delayMs));
  child.kill('SIGKILL');
  await once(child, 'close');
  return Number(said.trimEnd().split('\n').at(-1));
}

test(`${String(KILLS)} kills: no voucher that was acknowledged is lost, and no receipt is there twice`, async () => {
  let keptMost = 0;
  for (let kill = 0; kill < KILLS; kill++) {
    const acknowledged = await writeAndKill(1 + (kill % 5), Math.random() * 12);
    const record = readLane(folder, JOB);
    expect(record?.voucher?.seq).toBeGreaterThanOrEqual(acknowledged);
    expect(acknowledged).toBeGreaterThan(keptMost);
    keptMost = record?.voucher?.seq ?? 0;
    // Opening it cuts off what was being written.
    await (await LaneStore.open(folder, JOB)).close();
    const lines = readFileSync(logFile(folder, JOB), 'ascii').trimEnd().split('\n');
    const expected = Array.from(
      { length: keptMost * LINES_EACH },
      (_, i) => `receipt ${String(i + 1)}`,
    );
    expect(lines).toEqual(expected);
  }
});
