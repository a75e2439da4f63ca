/** @file A bench's printed form: the JSON line is last and carries ratio and bar. */
import { formatNs, formatTable, judge, report } from '../../../bench/lib/report.js';
import { summarise } from '../../../bench/lib/stats.js';

const row = { name: 'ours', summary: summarise([1000, 2000, 3000]) };
const verdict = { metric: 'p50Ms', value: 3, baseline: { name: 'bare socket', value: 2 } };

describe('judge', () => {
  it('divides by the baseline that ran beside it', () => {
    expect(judge(verdict)).toMatchObject({ ratio: 1.5, isHeld: null });
  });

  it('holds a value against its bar, both ends included', () => {
    expect(judge({ ...verdict, atMost: 3 }).isHeld).toBe(true);
    expect(judge({ ...verdict, atMost: 2.9 }).isHeld).toBe(false);
    expect(judge({ ...verdict, atLeast: 3.1 }).isHeld).toBe(false);
  });

  it('does not call a value that is not a number held', () => {
    expect(judge({ ...verdict, value: Number.NaN, atMost: 3 }).isHeld).toBe(false);
  });
});

describe('the table', () => {
  it('shows times in the unit that suits them', () => {
    expect([2, 1500, 2.5e6, 3e9].map(formatNs)).toEqual([
      '2.00 ns',
      '1.50 us',
      '2.50 ms',
      '3.00 s',
    ]);
  });

  it('aligns columns to their widest cell', () => {
    const lines = formatTable([row, { ...row, name: 'a longer name' }]).split('\n');
    expect(new Set(lines.map((line) => line.length)).size).toBe(1);
  });
});

describe('report', () => {
  const previousExitCode = process.exitCode;
  afterEach(() => {
    process.exitCode = previousExitCode;
    jest.restoreAllMocks();
  });

  it('prints one JSON line last, and fails the process when a bar is missed', () => {
    const log = jest.spyOn(console, 'log').mockImplementation(() => undefined);
    report('dispatch', [row], [{ ...verdict, atMost: 1 }], { units: 5 });
    const lastLine = String(log.mock.calls.at(-1)?.[0]);
    expect(JSON.parse(lastLine)).toMatchObject({
      bench: 'dispatch',
      verdicts: [{ metric: 'p50Ms', ratio: 1.5, isHeld: false }],
      details: { units: 5 },
    });
    expect(process.exitCode).toBe(1);
  });

  it('leaves the exit code alone when every bar held', () => {
    jest.spyOn(console, 'log').mockImplementation(() => undefined);
    report('dispatch', [row], [{ ...verdict, atMost: 4 }]);
    expect(process.exitCode).toBe(previousExitCode);
  });
});
