/** @file What the panel computes for its views: row order, shares, curve geometry, sentences. */
import fc from 'fast-check';
import type { Contributor } from '@ravenlab/protocol';
import { EMPTY_PANEL_STATE } from '@ravenlab/protocol';
import type { SortKey } from '../../../extension/src/model/contributorRows.js';
import {
  nextOrder,
  sharesOf,
  sortContributors,
} from '../../../extension/src/model/contributorRows.js';
import {
  areaOf,
  nearestIndex,
  pathOf,
  scaleOf,
  smooth,
} from '../../../extension/src/model/curve.js';
import { rowWindow } from '../../../extension/src/model/rowWindow.js';
import type { Translate } from '../../../extension/src/model/wording.js';
import { canBan, canDrain, canPause, canResume } from '../../../extension/src/model/rowActions.js';
import { PROMISE_TEXTS, spokenSummary, statusText } from '../../../extension/src/model/wording.js';
import { BUSY_STATE, contributorOf, jobOf, payeeOf } from '../panel/lib.js';

const ENGLISH: Translate = {
  __: (text, ...values) =>
    text.replace(/%(\d)/g, (_match, index: string) => String(values[Number(index) - 1])),
  _n: (singular, plural, count) => (count === 1 ? singular : plural).replace('%1', String(count)),
};

describe('rows', () => {
  const rows = [
    contributorOf('a', { unitsDone: 5, latencyMs: null, earnedUnits: '9' }),
    contributorOf('b', { unitsDone: 7, latencyMs: 3, earnedUnits: '100' }),
    contributorOf('c', { unitsDone: 9, latencyMs: 1, earnedUnits: '20', state: 'gone' }),
    contributorOf('d', { unitsDone: 7, latencyMs: 2, earnedUnits: '20' }),
  ];
  const ids = (key: SortKey, isDescending: boolean) =>
    sortContributors(rows, { key, isDescending }).map((row) => row.workerId);

  test('sort by number, with ties by id and those who left at the end', () => {
    expect(ids('units', true)).toEqual(['b', 'd', 'a', 'c']);
    expect(ids('units', false)).toEqual(['a', 'b', 'd', 'c']);
    expect(ids('earned', true)).toEqual(['b', 'd', 'a', 'c']);
  });

  test('put an unknown latency last in both directions', () => {
    expect(ids('latency', false)).toEqual(['d', 'b', 'a', 'c']);
    expect(ids('latency', true)).toEqual(['b', 'd', 'a', 'c']);
  });

  test('turn on a second click, and start a column at its useful end', () => {
    expect(nextOrder({ key: 'units', isDescending: true }, 'units').isDescending).toBe(false);
    expect(nextOrder({ key: 'units', isDescending: true }, 'earned').isDescending).toBe(true);
    expect(nextOrder({ key: 'units', isDescending: true }, 'latency').isDescending).toBe(false);
  });
});

describe('of a long table', () => {
  const view = (offsetPx: number) => ({ offsetPx, heightPx: 440 });

  test('rows near the view are drawn, and a short one whole', () => {
    expect(rowWindow(500, 44, view(4_400))).toEqual({ first: 88, end: 122 });
    expect(rowWindow(59, 44, view(4_400))).toEqual({ first: 0, end: 59 });
    expect(rowWindow(500, 44, null)).toEqual({ first: 0, end: 500 });
  });

  test('every row in view is drawn, wherever it is scrolled to', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 60, max: 500 }),
        fc.integer({ min: -2_000, max: 40_000 }),
        (count, offsetPx) => {
          const { first, end } = rowWindow(count, 44, view(offsetPx));
          expect(0 <= first && first <= end && end <= count).toBe(true);
          expect(end - first).toBeLessThan(40);
          for (let row = 0; row < count; row++) {
            const isSeen = row * 44 + 44 > offsetPx && row * 44 < offsetPx + 440;
            if (isSeen) expect(first <= row && row < end).toBe(true);
          }
        },
      ),
    );
  });
});

test('shares follow the amounts, beyond what a double can count, and never divide by zero', () => {
  const third = (10n ** 40n / 3n).toString();
  const shares = sharesOf([payeeOf('a', third), payeeOf('b', '0')], (10n ** 40n).toString());
  expect(shares.map(({ payee, share }) => [payee.workerId, share])).toEqual([
    ['a', 0.333333],
    ['b', 0],
  ]);
  expect(sharesOf([payeeOf('a', '0')], '0')[0]?.share).toBe(0);
});

describe('the curve', () => {
  const box = { width: 200, height: 100 };
  const points = [
    [0, 4],
    [10, 2],
    [20, 0],
  ] as const;

  test('fills its box from corner to corner', () => {
    const scale = scaleOf(points, box)!;
    expect(pathOf(points, scale)).toBe('M0.0 0.0L100.0 50.0L200.0 100.0');
    expect(areaOf(points, scale, box)).toBe(
      'M0.0 0.0L100.0 50.0L200.0 100.0L200.0 100.0L0.0 100.0Z',
    );
  });

  test('has no shape without points and a finite one with a single or a constant value', () => {
    expect(scaleOf([], box)).toBeNull();
    for (const flat of [
      [[3, 0]],
      [
        [0, 5],
        [1, 5],
      ],
    ] as const) {
      expect(pathOf(flat, scaleOf(flat, box)!)).not.toMatch(/NaN|Infinity/);
    }
  });

  test('smoothing stays within the values, keeps the first, and weight 0 changes nothing', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: -50, max: 50, noNaN: true }), { minLength: 1, maxLength: 50 }),
        fc.double({ min: 0, max: 0.99, noNaN: true }),
        (losses, weight) => {
          const raw = losses.map((loss, step) => [step, loss] as const);
          const means = smooth(raw, weight).map(([, loss]) => loss);
          expect(means[0]).toBeCloseTo(losses[0]!, 8);
          for (const mean of means) {
            expect(mean).toBeGreaterThanOrEqual(Math.min(...losses) - 1e-9);
            expect(mean).toBeLessThanOrEqual(Math.max(...losses) + 1e-9);
          }
          smooth(raw, 0).forEach(([, mean], step) => expect(mean).toBeCloseTo(losses[step]!, 12));
        },
      ),
    );
  });

  test('reads the point nearest to the pointer', () => {
    const scale = scaleOf(points, box)!;
    expect([-5, 0, 49, 51, 149, 151, 999].map((x) => nearestIndex(points, scale, x))).toEqual([
      0, 0, 0, 1, 1, 2, 2,
    ]);
    expect(nearestIndex([], scale, 5)).toBe(-1);
  });
});

test('a worker can be drained or paused once, and taken back from both', () => {
  const allowed = (state: Contributor['state']) =>
    Object.entries({ canResume, canDrain, canPause, canBan })
      .filter(([, can]) => can({ state }))
      .map(([name]) => name);
  expect(allowed('busy')).toEqual(['canDrain', 'canPause', 'canBan']);
  expect(allowed('draining')).toEqual(['canResume', 'canPause', 'canBan']);
  expect(allowed('paused')).toEqual(['canResume', 'canDrain', 'canBan']);
  expect(allowed('gone')).toEqual(['canBan']);
});

describe('sentences', () => {
  test('a run says what it promises of its bits', () => {
    expect(PROMISE_TEXTS['same-bits'](ENGLISH)).toBe('Same bits, whoever computes');
    expect(PROMISE_TEXTS['within-tolerance'](ENGLISH)).toBe(
      'Tolerance tier: bit classes are mixed, bits may differ',
    );
  });

  test('the status bar names workers, and the rate only while there is one', () => {
    expect(statusText(BUSY_STATE, ENGLISH)).toBe('2 workers · 1.63k samples/s');
    const idle = { ...BUSY_STATE.cluster, workerCount: 1, samplesPerSecond: 0 };
    expect(statusText({ ...BUSY_STATE, cluster: idle }, ENGLISH)).toBe('1 worker');
  });

  test('the spoken summary says how far, how good and how long', () => {
    expect(spokenSummary(BUSY_STATE, ENGLISH)).toBe(
      '2 workers. Running: epoch 2 of 5, step 120, loss 0.4120, 42 s left.',
    );
    expect(spokenSummary(EMPTY_PANEL_STATE, ENGLISH)).toBe('0 workers, no job');
    const done = { ...BUSY_STATE, job: jobOf({ state: 'done', epoch: null }) };
    expect(spokenSummary(done, ENGLISH)).toBe('2 workers. Done: step 120, loss 0.4120.');
  });
});
