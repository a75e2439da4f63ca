/**
 * @file `npm run chain` as a person runs it, at a real anvil that plays the network: from keys to refund, and each thing that can be wrong
 * with its words, after which nothing is lost.
 */
import { execFile } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Address, Hash32, JobId, LeaseId, ProgramHash, Receipt } from '@ravenlab/protocol';
import { RECEIPT_COLUMNS, receiptLine } from '@ravenlab/protocol';
import { startSimulatedChain } from '../../../contracts/src/anvil.js';
import type { SimulatedChain } from '../../../contracts/src/anvil.js';
import { devAccounts } from '../../../contracts/src/devAccounts.js';
import { createKeystore } from '../../../contracts/src/keystore.js';
import { Rpc } from '../../../contracts/src/rpc.js';
import { escrowClock, isReady, newHome, startAgent } from './lib.js';

const CLI = resolve(__dirname, '../../../kernel/dist/chainCli/main.js');
if (!existsSync(CLI)) throw new Error(`${CLI} is missing: run npm run build`);

const VENV_PYTHON = resolve(__dirname, '../../../.venv/bin/python');
const PYTHON = existsSync(VENV_PYTHON) ? VENV_PYTHON : 'python3';
const TERMINAL = resolve(__dirname, '../lib/terminal.py');

const { home, remove } = newHome();
const at = (name: string): string => join(home, name);
const [payerKey, signerKey, payee] = devAccounts();
let network: SimulatedChain;
let rpc: Rpc;
let escrow = '';
let token = '' as Address;

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function run(program: string, args: readonly string[]): Promise<Outcome> {
  return new Promise((done) => {
    const options = {
      timeout: 60_000,
      env: { ...process.env, RAVENLAB_HOME: home, RAVENLAB_CHAIN: '' },
    };
    execFile(program, args, options, (error, out, err) => {
      done({ code: error === null ? 0 : Number(error.code ?? -1), out, err });
    });
  });
}

const chain = (args: readonly string[]): Promise<Outcome> => run(process.execPath, [CLI, ...args]);

/** In a terminal, where each question gets its answer. */
function typed(
  steps: readonly (readonly [string, string])[],
  ...args: readonly string[]
): Promise<Outcome> {
  return run(PYTHON, [TERMINAL, JSON.stringify(steps), process.execPath, CLI, ...args]);
}

async function good(...args: string[]): Promise<string> {
  const { code, out, err } = await chain(args);
  if (code !== 0) throw new Error(`chain ${args.join(' ')}: code ${String(code)}\n${out}${err}`);
  return out;
}

/** The one line that a person reads; nothing of a stack. */
async function refused(...args: string[]): Promise<string> {
  const { code, err } = await chain(args);
  expect(code).toBe(1);
  expect(err).not.toMatch(/\n {4}at /);
  return err;
}

const setUpArgs = (...changes: string[]): string[] => [
  ...['setup', '--rpc', network.url, '--chain-id', '31337', '--escrow', escrow, '--token', token],
  ...['--signer', at('signer.json'), '--signer-password-file', at('password')],
  ...['--payer', at('payer.json'), '--payer-password-file', at('password')],
  ...['--confirmations', '1', ...changes],
];

beforeAll(async () => {
  network = await startSimulatedChain();
  rpc = new Rpc(network.url);
  writeFileSync(at('password'), 'correct horse\n', { mode: 0o600 });
  const made = { password: 'correct horse', scryptCost: 2 ** 10 };
  await createKeystore(at('payer.json'), { ...made, privateKey: payerKey!.privateKey });
  await createKeystore(at('signer.json'), { ...made, privateKey: signerKey!.privateKey });
});

afterAll(async () => {
  await network.stop();
  remove();
});

test('a key is made and named, in a file of its owner alone', async () => {
  const file = at('made/key.json');
  const said = await good('keystore', 'new', file, '--password-file', at('password'));
  const address = (await good('keystore', 'address', file)).trim();
  expect(address).toMatch(/^0x[0-9a-f]{40}$/);
  expect(said).toContain(address);
  expect(statSync(file).mode & 0o777).toBe(0o600);
});

test('an escrow and play money are deployed, and settings are written once all of it is there', async () => {
  const out = await good(
    ...['deploy', '--rpc', network.url, '--chain-id', '31337', '--payer', at('payer.json')],
    ...['--payer-password-file', at('password'), '--dev-token', 'PLAY', '--decimals', '6'],
  );
  escrow = /escrow: (0x[0-9a-f]{40})/.exec(out)?.[1] ?? '';
  token = (/token: (0x[0-9a-f]{40})/.exec(out)?.[1] ?? '') as Address;
  expect(await refused(...setUpArgs('--token', escrow))).toContain('how many decimals');
  expect(await refused(...setUpArgs('--escrow', token))).toContain('not the LaneEscrow');
  expect(await refused(...setUpArgs('--chain-id', '8453'))).toContain(
    'is chain 31337, expected chain 8453',
  );
  expect(await refused(...setUpArgs('--rpc', 'http://127.0.0.1:1'))).toContain('does not answer');
  expect(await refused(...setUpArgs('--per-hour', '0.0000001'))).toContain('finer than the token');
  expect(await refused(...setUpArgs('--price-per-tflop', '0.0005'))).toMatch(
    /price\.perTflop is 0\.0005, expected a multiple of 0\.001: .* 6 decimals/,
  );
  expect(existsSync(at('chain.json'))).toBe(false);
  const chosen = ['--per-hour', '5', '--name', 'Play net', '--price-per-tflop', '0.002'];
  const said = await good(...setUpArgs(...chosen));
  expect(said).toContain('work costs 0.002 PLAY per TFLOP');
  expect(JSON.parse(readFileSync(at('chain.json'), 'utf8'))).toMatchObject({
    ...{ decimals: 6, price: { perTflop: '0.002', perTib: '0' } },
  });
  expect(statSync(at('chain.json')).mode & 0o777).toBe(0o600);
  expect(readFileSync(at('chain.json'), 'utf8')).not.toContain('correct horse');
});

test('more than the payer has is refused with both amounts, before anything is sent', async () => {
  const before = await rpc.call('eth_getTransactionCount', [payerKey!.address, 'latest']);
  expect(await refused('open', '--deposit', '100')).toMatch(/has 0 PLAY, and 100 PLAY/);
  expect(await rpc.call('eth_getTransactionCount', [payerKey!.address, 'latest'])).toBe(before);
});

test('a job is opened, reserved, settled and refunded to the last unit', async () => {
  await escrowClock(network.url).mint(token, payerKey!.address, 100_000_000n);
  expect(await good('open', '--deposit', '60.5', '--days', '10')).toContain('holds 60.5 PLAY');
  await good('reserve', payee!.address, '20');
  expect(await good('reserve', payee!.address, '20')).toContain('as much already');
  expect(await refused('settle', payee!.address, '20.000001')).toContain('a cap of 20 PLAY');
  expect(await refused('reserve', payee!.address, '200')).toContain('InsufficientFree');
  await good('settle', payee!.address, '7.25');
  expect(await good('settle', payee!.address, '7.25')).toContain('7.25 PLAY are paid already');
  await good('deposit', '9.5');
  const said = await good('status');
  expect(said).toMatch(/Play net \(chain 31337\) at http:\/\/127\.0\.0\.1/);
  expect(said).toMatch(/open until .* free 50 PLAY, reserved 12\.75 PLAY/);
  expect(await good('refund')).toContain('50 PLAY sent back; 12.75 PLAY stay reserved');
});

test('an engine takes the job by the settings, and only one does', async () => {
  const choice = { kind: 'settings', file: at('chain.json') } as const;
  const first = startAgent({ home, owner: 'engine-a', choice });
  const second = startAgent({ home, owner: 'engine-b', choice });
  const ready = await Promise.race([first.when('ready', isReady), second.when('ready', isReady)]);
  expect(ready.network).toMatchObject({ name: 'Play net', isSimulated: false });
  expect(ready.limits).toEqual({ perLane: null, perHour: 5_000_000n, perRun: null });
  expect(ready.localPayees).toEqual([]);
  const loser = first.agent.status().phase === 'ready' ? second : first;
  const { problem } = await loser.when('told', ({ phase }) => phase === 'problem');
  expect(problem).toMatch(/no open job.*npm run chain -- open/);
  await Promise.all([first.close(), second.close()]);
});

test('an exported ledger is hashed again, and held against what the chain paid', async () => {
  const job = /job (0x[0-9a-f]{64})/.exec(await good('status'))?.[1] as JobId;
  const receipt = (n: number): Receipt => ({
    ...{
      n,
      job,
      payee: payee!.address,
      lease: n as LeaseId,
      program: 'ab'.repeat(32) as ProgramHash,
    },
    ...{ flops: 1, sizeBytes: 1, amount: 4_000_000n, result: `0x${'cd'.repeat(32)}` as Hash32 },
    verdict: 'accepted',
  });
  const lines = [receipt(1), receipt(2)].map(receiptLine);
  const text = `${[RECEIPT_COLUMNS.join(','), ...lines].join('\n')}\n`;
  writeFileSync(at('ledger.csv'), text);
  expect(await good('verify', at('ledger.csv'))).toContain(
    '2 receipts, 0 refused, 8000000 base units',
  );
  const where = ['--rpc', network.url, '--chain-id', '31337', '--escrow', escrow];
  // The command line settled by hand, for no line at all.
  expect(await refused('verify', at('ledger.csv'), ...where)).toMatch(
    /pays 0x[0-9a-f]{40} 7250000 for head 0x0+: the lines up to there are worth 0/,
  );
  writeFileSync(at('cut.csv'), text.replace(`${lines[1]!}\n`, ''));
  expect(await good('verify', at('cut.csv'))).toContain('1 receipts');
  writeFileSync(at('bad.csv'), text.replace('4000000', '4000000x'));
  expect((await chain(['verify', at('bad.csv')])).code).not.toBe(0);
});

test('settings that count in other decimals than the token are refused, with what to write', async () => {
  const settings = JSON.parse(readFileSync(at('chain.json'), 'utf8')) as object;
  const file = at('eighteen.json');
  writeFileSync(file, JSON.stringify({ ...settings, decimals: undefined }), { mode: 0o600 });
  expect(await refused('status', '--settings', file)).toMatch(
    /token PLAY has 6 decimals, the settings say 18, .*set "decimals": 6 there/,
  );
});

test('a wrong password, a keystore that others can read, and one of everybody are refused', async () => {
  writeFileSync(at('wrong'), 'battery staple\n', { mode: 0o600 });
  const settings = at('wrong.json');
  await good(...setUpArgs('--settings', settings, '--payer-password-file', at('wrong')));
  expect(await refused('status', '--settings', settings)).toContain('the password is wrong');
  chmodSync(at('signer.json'), 0o644);
  expect(await refused('status')).toMatch(/signer\.json can be used by others.*chmod 600/);
  chmodSync(at('signer.json'), 0o600);
  const other = await startSimulatedChain({ chainId: 31_338 });
  try {
    const deploy = ['deploy', '--rpc', other.url, '--chain-id', '31338'];
    const payer = ['--payer', at('payer.json'), '--payer-password-file', at('password')];
    expect(await refused(...deploy, ...payer)).toContain('whose keys everybody knows');
  } finally {
    await other.stop();
  }
});

test('a password is asked for in a terminal and not shown there; a wrong one, or none, changes nothing', async () => {
  const settings = at('typed.json');
  const keys = ['--signer', at('signer.json'), '--confirmations', '1', '--settings', settings];
  const place = ['--chain-id', '31337', '--escrow', escrow, '--token', token];
  await good('setup', '--rpc', network.url, ...place, ...keys);
  const status = ['status', '--settings', settings];
  const question = `Password of ${at('signer.json')}: `;
  const right = await typed([[question, 'correct horse\r']], ...status);
  expect(right).toMatchObject({ code: 0, out: expect.stringContaining('chain 31337') as string });
  expect(right.out).not.toContain('correct');
  const wrong = await typed([[question, 'battery staple\r']], ...status);
  expect(wrong).toMatchObject({ code: 1 });
  expect(wrong.out).toMatch(/signer\.json cannot be opened: the password is wrong/);
  expect(wrong.out).not.toContain('staple');
  // Ctrl-D.
  const none = await typed([[question, '\u0004']], ...status);
  expect(none).toMatchObject({ code: 1 });
  expect(none.out).toMatch(/no password was given: .*password file of mode 0600/);
});

test('the password of a new key is typed twice, and two that differ make no key', async () => {
  const file = at('typed/key.json');
  const [first, again] = [`Password of ${file}: `, 'The same again'];
  const make = ['keystore', 'new', file];
  const slip = await typed([[first, 'one thing\r'], [again, 'another\r']], ...make); // prettier-ignore
  expect(slip).toMatchObject({
    code: 1,
    out: expect.stringContaining('differ; nothing') as string,
  });
  expect(existsSync(at('typed')) ? readdirSync(at('typed')) : []).toEqual([]);
});

test('no settings, no command, no such command: each says what there is', async () => {
  expect(await refused('status', '--settings', at('nowhere.json'))).toContain('cannot be read');
  expect((await chain([])).out).toContain('npm run chain -- keystore new');
  expect(await chain(['pay'])).toMatchObject({ code: 2, out: '' });
  expect(await refused('open', '--nonsense')).toContain('--nonsense');
});

test('a clock that is wrong is told before an expiry is chosen by it, and an expired job before it is filled', async () => {
  const clock = escrowClock(network.url);
  await clock.travel(3 * 3_600);
  expect(await refused('open', '--deposit', '1')).toMatch(
    /10\d{3} s ahead of this machine's clock/,
  );
  await clock.travel(10 * 86_400);
  expect(await refused('deposit', '1')).toMatch(/expired at .*Extend it/);
  expect(await good('status')).toContain('expired until');
  await clock.travel(2 * 86_400);
  expect(await good('refund')).toMatch(/12\.75 PLAY sent back; 0 PLAY stay reserved/);
});
