/** @file What a drill's figures say: promises never stretch, times do. */
import {
  atMost,
  format,
  holds,
  isGood,
  isHeld,
  none,
  note,
  time,
} from '../../drill/lib/verdict.js';
import type { Verdict } from '../../drill/lib/verdict.js';

const verdict = (part: Partial<Verdict>): Verdict => ({
  drill: 'kill',
  figures: [],
  skipped: null,
  error: null,
  tookMs: 1234,
  ...part,
});

describe('a figure', () => {
  it('that is a time may take longer where others work too', () => {
    const late = time('noticed ms', 90, 50);
    expect(isHeld(late, 1)).toBe(false);
    expect(isHeld(late, 2)).toBe(true);
  });

  it('that is a promise holds or is broken, whatever the slack', () => {
    expect(isHeld(none('samples lost', 1), 100)).toBe(false);
    expect(isHeld(none('samples lost', 0), 1)).toBe(true);
    expect(isHeld(holds('same weights', false), 100)).toBe(false);
    expect(isHeld(atMost('leased again', 6, 5), 100)).toBe(false);
    expect(isHeld(atMost('leased again', 5, 5), 1)).toBe(true);
  });

  it('that is not a number is never within a bar', () => {
    expect(isHeld(time('noticed ms', NaN, 50), 1)).toBe(false);
    expect(isHeld(time('reattached ms', Infinity, 2_000), 20)).toBe(false);
  });

  it('that is a time before its cause is a mistake, not a record', () => {
    expect(isHeld(time('noticed ms', -600, 5_000), 20)).toBe(false);
  });

  it('without a bar is a note', () => {
    expect(isHeld(note('weights', 'ab12'), 1)).toBe(true);
  });
});

describe('a verdict', () => {
  it('is good when all figures hold and nothing broke', () => {
    expect(isGood(verdict({ figures: [none('lost', 0)] }), 1)).toBe(true);
    expect(isGood(verdict({ figures: [none('lost', 0), none('twice', 1)] }), 1)).toBe(false);
    expect(isGood(verdict({ error: 'no member' }), 1)).toBe(false);
  });

  it('names what was missed, and by how much a bar was stretched', () => {
    const text = format(verdict({ figures: [time('noticed ms', 120.456, 50)] }), 2);
    expect(text).toBe('✗ kill  1.2 s\n    noticed ms: 120.5  (at most 50 × 2: MISSED)');
  });

  it('says why a drill did not run', () => {
    expect(format(verdict({ skipped: 'not root' }), 1)).toBe('- kill: skipped: not root');
  });
});
