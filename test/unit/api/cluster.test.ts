/** @file The namespace `cluster`: commands, tables, and waiting for workers. */
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { EMPTY_PANEL_STATE } from '@ravenlab/protocol';
import type { Contributor, PanelState } from '@ravenlab/protocol';
import { cluster, tensor } from 'ravenlab';
import { freshSession } from './lib/oracleSession.js';
import type { OracleSession } from './lib/oracleSession.js';

let session: OracleSession;
beforeEach(() => {
  session = freshSession();
});

const WORKER: Contributor = {
  workerId: 'a'.repeat(64),
  shortId: 'aaaaaa',
  name: '<b>eve</b>',
  device: 'CPU',
  backend: 'onnx-cpu',
  state: 'idle',
  unitsDone: 7,
  unitsFailed: 0,
  samplesPerSecond: 10,
  latencyMs: 2,
  gflops: 3,
  memoryBytes: null,
  earnedUnits: '0',
  joinedAtMs: 0,
  local: true,
};

function panel(workers: number): PanelState {
  const { cluster: summary, payments } = EMPTY_PANEL_STATE;
  return {
    ...EMPTY_PANEL_STATE,
    cluster: { ...summary, state: 'ready', engineId: 'e', workerCount: workers },
    contributors: Array.from({ length: workers }, () => WORKER),
    payments: { ...payments, currency: 'RVN', decimals: 9, unitPriceText: '1 RVN per TFLOP' },
  };
}

test('workers are a table in which a hostile name stays text', async () => {
  session.commands.set('status', () => ({ panel: panel(1) }));
  const table = await cluster.workers();
  expect(table).toHaveLength(1);
  expect([...table][0]?.unitsDone).toBe(7);
  const display = (table as unknown as Record<symbol, () => Record<string, string>>)[
    Symbol.for('Jupyter.display')
  ];
  const bundle = display?.call(table) ?? {};
  expect(bundle['text/html']).toContain('&lt;b&gt;eve');
  expect(bundle['text/plain']).toMatch(/^worker +device/);
});

test('the table says of a worker what it means for the reader, not for the scheduler', async () => {
  const rows = (['joining', 'suspect', 'draining'] as const).map((state) => ({ ...WORKER, state }));
  session.commands.set('status', () => ({ panel: { ...panel(3), contributors: rows } }));
  const text = inspect(await cluster.workers());
  for (const words of ['ready, new', 'not answering', 'finishing']) expect(text).toContain(words);
});

test('ready says that it waits, once, and goes on when workers come', async () => {
  let asked = 0;
  session.commands.set('status', () => {
    session.clockMs += 600;
    return { panel: panel(asked++ < 4 ? 0 : 2) };
  });
  expect(await cluster.ready(2)).toHaveLength(2);
  expect(session.text('stdout')).toBe('waiting for workers: 0 of 2 are here\n');
});

test('ready gives up after its time with what to do', async () => {
  session.commands.set('status', () => {
    session.clockMs += 10_000;
    return { panel: panel(1) };
  });
  await expect(cluster.ready(3, { timeoutMs: 1_000 })).rejects.toThrow(
    /1 of 3 workers after .*cluster\.scale\(2\).*invite/,
  );
});

test('scale and invite pass on to the engine', async () => {
  const asked: unknown[] = [];
  session.commands.set('scale', (args) => {
    asked.push(args);
    return { workers: 3 };
  });
  const invite = {
    ...{ command: 'npm run worker -- join x', name: 'lab', createdAtMs: 5, workers: 2 },
    expiresAtMs: 1_800_000_000_000,
  };
  const askedFor: unknown[] = [];
  session.commands.set('invite', (args) => {
    askedFor.push(args);
    return invite;
  });
  session.commands.set('invites', () => ({ invites: [{ ...invite, expiresAtMs: null }] }));
  session.commands.set('revoke', (args) => ({ ...args, workers: 2 }));
  await cluster.scale(3);
  expect(asked).toEqual([{ workers: 3 }]);
  const expires = new Date(1_800_000_000_000);
  const shown = { command: 'npm run worker -- join x', name: 'lab', workers: 2 };
  expect(await cluster.invite()).toEqual({ ...shown, expires });
  await cluster.invite({ name: 'lab', expires });
  await cluster.invite({ expires: null });
  expect(askedFor).toEqual([
    {},
    { name: 'lab', expiresAtMs: 1_800_000_000_000 },
    { expiresAtMs: null },
  ]);
  expect(await cluster.invites()).toEqual([{ ...shown, expires: null }]);
  expect(await cluster.revoke('lab')).toBe(2);
});

test('an answer that is no panel state is refused', async () => {
  session.commands.set('status', () => ({ panel: { cluster: 1 } }));
  await expect(cluster.status()).rejects.toThrow(/status\.panel/);
});

test('the micro-shard size cuts the batches of what comes after', () => {
  cluster.microShard = 8;
  expect(cluster.microShard).toBe(8);
  expect(() => (cluster.microShard = 0)).toThrow(/expected a positive integer, got 0/);
  expect(cluster.wire).toBe('float32');
  cluster.wire = 'bfloat16';
  expect(cluster.wire).toBe('bfloat16');
  expect(() => (cluster.wire = 'fp8' as 'int8')).toThrow(
    /cluster.wire: expected one of float32, bfloat16, float16, int8, got fp8/,
  );
  expect(tensor([1, 2]).sum().item()).toBe(3);
});

test('how gradients become one is a rule that is checked when it is set', () => {
  expect(cluster.aggregate).toBe('sum');
  cluster.aggregate = { kind: 'trimmedMean', trim: 0.2 };
  expect(cluster.aggregate).toEqual({ kind: 'trimmedMean', trim: 0.2 });
  expect(() => (cluster.aggregate = { kind: 'trimmedMean', trim: 0.5 })).toThrow(
    /cluster.aggregate: expected 'sum', .* or .*centeredClip.*, got {"kind":"trimmedMean","trim":0.5}/,
  );
});

test('workers are named by row or id, and rules are passed on', async () => {
  const asked: unknown[] = [];
  for (const op of ['drain', 'pause', 'resume', 'ban', 'unban', 'configure']) {
    session.commands.set(op, (args) => {
      asked.push([op, args]);
      return {};
    });
  }
  await cluster.drain(WORKER);
  await cluster.pause('aaaa');
  await cluster.resume(WORKER);
  await cluster.ban('bbbb');
  await cluster.unban('bbbb');
  await cluster.configure({ mixClasses: true });
  expect(asked).toEqual([
    ['drain', { workerId: WORKER.workerId }],
    ['pause', { workerId: 'aaaa' }],
    ['resume', { workerId: WORKER.workerId }],
    ['ban', { workerId: 'bbbb' }],
    ['unban', { workerId: 'bbbb' }],
    ['configure', { mixClasses: true }],
  ]);
});

describe('payments', () => {
  let folder = '';
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'ravenlab-receipts-'));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  test('what is owed is data, and settling says which transaction it is', async () => {
    const { payments } = panel(0);
    const owed = { ...payments, totalMetered: '123456789012345678901' };
    session.commands.set('status', () => ({ panel: { ...panel(0), payments: owed } }));
    expect(await cluster.payments()).toEqual(owed);
    session.commands.set('settle', () => ({ transaction: 7 }));
    expect(await cluster.settle()).toBe(7);
    session.commands.set('settle', () => ({ transaction: null }));
    expect(await cluster.settle()).toBeNull();
    session.commands.set('settle', () => ({ transaction: 'soon' }));
    await expect(cluster.settle()).rejects.toThrow(/settle\.transaction/);
  });

  test('receipts are written part by part, in the format that the name asks for', async () => {
    const asked: unknown[] = [];
    session.commands.set('exportLedger', (args) => {
      asked.push(args);
      return asked.length === 1
        ? { text: 'n,job\n', cursor: '1:0' }
        : { text: 'é\n', cursor: null };
    });
    const path = join(folder, 'new', 'log.CSV');
    expect(await cluster.exportReceipts(path)).toEqual({ path, sizeBytes: 9 });
    expect(readFileSync(path, 'utf8')).toBe('n,job\né\n');
    expect(asked).toEqual([
      { format: 'csv', cursor: null },
      { format: 'csv', cursor: '1:0' },
    ]);
    await cluster.exportReceipts(join(folder, 'log.json'));
    expect(asked.at(-1)).toEqual({ format: 'json', cursor: null });
  });

  test('an export that fails leaves the file of before, and nothing else', async () => {
    const path = join(folder, 'log.csv');
    session.commands.set('exportLedger', () => ({ text: 'old\n', cursor: null }));
    await cluster.exportReceipts(path);
    let asked = 0;
    session.commands.set('exportLedger', () =>
      asked++ === 0 ? { text: 'new\n', cursor: 'next' } : { text: 5, cursor: null },
    );
    await expect(cluster.exportReceipts(path)).rejects.toThrow(/exportLedger\.text/);
    expect(readFileSync(path, 'utf8')).toBe('old\n');
    expect(readdirSync(folder)).toEqual(['log.csv']);
  });

  test('a name that says no format is refused before anything is asked', async () => {
    const path = join(folder, 'log.txt');
    await expect(cluster.exportReceipts(path)).rejects.toThrow(/neither \.csv nor \.json/);
    await expect(cluster.exportReceipts(join(folder, 'a.csv', 'x'))).rejects.toThrow(/neither/);
    expect(existsSync(path)).toBe(false);
  });
});
