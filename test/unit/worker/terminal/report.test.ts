/** @file What the terminal shows, word for word, and the rates behind it. */
import type { Address } from '@ravenlab/protocol';
import type { WorkerReport } from '../../../../worker/src/terminal/report.js';
import { plainPaint, reportLines, summaryLine } from '../../../../worker/src/terminal/report.js';
import type { PayView } from '../../../../worker/src/wallet/payDesk.js';
import { Tally } from '../../../../worker/src/terminal/tally.js';

const REPORT: WorkerReport = {
  device: 'AMD EPYC 7B13',
  backend: 'onnx-cpu',
  threads: 4,
  gflops: 207.4,
  cluster: 'tcp://10.0.0.5:41234',
  shortId: 'w-7f3a',
  link: 'working',
  queuedUnits: 3,
  units: 12_345,
  failed: 0,
  samples: 395_040,
  samplesPerSecond: 8_230,
  unitsPerSecond: 257.2,
  earned: 1_234_567n,
  price: '12 units/GFLOP',
  pay: null,
  upMs: 3_725_000,
  notice: null,
};

describe('the worker view', () => {
  test('shows what an owner wants to know', () => {
    expect(reportLines(REPORT, 80, plainPaint)).toEqual([
      '',
      '  RavenLab worker  w-7f3a',
      '',
      '  device    AMD EPYC 7B13 · 4 threads',
      '  backend   onnx-cpu · 207 GFLOP/s',
      '  cluster   tcp://10.0.0.5:41234',
      '  state     working on 3',
      '',
      '  units     12,345 · 257/s',
      '  samples   395,040 · 8.23k/s',
      '  earned    1,234,567 (12 units/GFLOP)',
      '  uptime    1 h 02 min',
      '',
      '  Ctrl-C to finish and leave',
    ]);
  });

  test('tells what was earned from what was promised and what was redeemed', () => {
    const pay = {
      address: `0x${'5f'.repeat(20)}` as Address,
      tokenSymbol: 'SUSD',
      decimals: 6,
      basis: 'chain',
      promised: 1_200_000n,
      redeemed: 1_000_000n,
      atRisk: 34_567n,
    } as const;
    const lines = (view: PayView) => reportLines({ ...REPORT, pay: view }, 100, plainPaint);
    expect(lines(pay).slice(10, 14)).toEqual([
      '  earned    1.234567 SUSD (12 units/GFLOP)',
      '  promised  1.2 SUSD · at risk 0.034567 SUSD',
      '  redeemed  1 SUSD',
      '  wallet    0x5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f',
    ]);
    expect(lines({ ...pay, basis: 'simulated', redeemed: null }).slice(11, 13)).toEqual([
      '  promised  1.2 SUSD · at risk 0.034567 SUSD · simulated chain, worth nothing',
      '  redeemed  –',
    ]);
  });

  test('shows trouble only when there is some', () => {
    const lines = reportLines(
      { ...REPORT, link: 'reconnecting', failed: 2, notice: 'no memory' },
      80,
      plainPaint,
    );
    expect(lines).toContain('  state     connection lost, trying again');
    expect(lines).toContain('  units     12,345 · 257/s · 2 failed');
    expect(lines).toContain('  note      no memory');
  });

  test('never exceeds the width of the terminal', () => {
    const notice = 'a very long explanation '.repeat(10);
    for (const columns of [20, 40, 80]) {
      for (const line of reportLines({ ...REPORT, notice }, columns, plainPaint).slice(3, -1)) {
        expect(line.length).toBeLessThanOrEqual(columns);
      }
    }
  });

  test('says at the end what was done', () => {
    expect(summaryLine({ ...REPORT, failed: 1 })).toBe(
      'RavenLab worker left tcp://10.0.0.5:41234: 12,345 units, 1 failed, 395,040 samples, ' +
        'earned 1,234,567 (12 units/GFLOP) in 1 h 02 min',
    );
  });
});

describe('the tally', () => {
  test('gives rates over the last seconds, and none before there is time', () => {
    const tally = new Tally();
    expect(tally.rates(0)).toEqual({ units: 0, samples: 0 });
    tally.add({ units: 10, failed: 1, samples: 320 });
    expect(tally.rates(1_000)).toEqual({ units: 10, samples: 320 });
    tally.add({ units: 10, failed: 0, samples: 320 });
    expect(tally.rates(2_000)).toEqual({ units: 10, samples: 320 });
    expect(tally).toMatchObject({ units: 20, failed: 1, samples: 640 });
  });

  test('forgets what is long ago', () => {
    const tally = new Tally();
    tally.rates(0);
    tally.add({ units: 100, failed: 0, samples: 0 });
    for (let atMs = 500; atMs <= 20_000; atMs += 500) tally.rates(atMs);
    expect(tally.rates(20_500).units).toBe(0);
  });
});
