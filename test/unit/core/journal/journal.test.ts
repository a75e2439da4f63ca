/** @file When the journal takes an image, writes, waits and ends; the machine alone, without files. */
import type { JournalEffect, JournalEvent } from '../../../../kernel/src/core/journal/journal.js';
import {
  createJournal,
  isFull,
  isSettled,
  journalDeadline,
  journalStep,
} from '../../../../kernel/src/core/journal/journal.js';

const BOUNDS = { imageMs: 100, imageRest: 4, syncMs: 1_000, flushMs: 100, retryMs: 500, rows: 10 };

type Effect = JournalEffect<string>;

function start(mode: 'off' | 'cache' | 'sync' = 'cache') {
  const state = createJournal<string>(BOUNDS, mode);
  const feed = (event: JournalEvent<string>, now: number): Effect[] =>
    journalStep(state, event, now);
  feed({ kind: 'attached', session: 1 }, 0);
  const point = (request: number) => ({ session: 1, request });
  return {
    state,
    feed,
    point,
    /** A request with effects that is whole at once. */
    effect: (request: number, now: number): Effect[] => {
      feed({ kind: 'started', point: point(request), isEffect: true }, now);
      return feed({ kind: 'quiet' }, now);
    },
  };
}

const kinds = (effects: readonly Effect[]): string[] => effects.map(({ kind }) => kind);

describe('images', () => {
  test('one is taken when a request with effects is whole, and counts when its answers are read', () => {
    const { feed, point, effect } = start();
    expect(effect(1, 0)).toEqual([{ kind: 'image', slot: 0, point: point(1), isSynced: true }]);
    expect(feed({ kind: 'imaged' }, 10)).toEqual([]);
    const image = { slot: 0, point: point(1), isSynced: true };
    expect(feed({ kind: 'acked', point: point(1) }, 12)).toEqual([
      { kind: 'write', rows: [], image, isSynced: true },
    ]);
    expect(feed({ kind: 'written' }, 14)).toEqual([{ kind: 'durable', point: point(1) }]);
  });

  test('none is taken while a request with effects is half done', () => {
    const { state, feed, point } = start();
    expect(feed({ kind: 'started', point: point(1), isEffect: true }, 0)).toEqual([]);
    expect(feed({ kind: 'tick' }, 5_000)).toEqual([]);
    expect(journalDeadline(state)).toBeNull();
    expect(kinds(feed({ kind: 'quiet' }, 5_001))).toEqual(['image']);
  });

  test('its point covers evaluations that were started and had no effect, so it waits for their answers too', () => {
    const { feed, point, effect } = start();
    feed({ kind: 'started', point: point(1), isEffect: false }, 0);
    expect(effect(2, 0)).toMatchObject([{ kind: 'image', point: point(2) }]);
    feed({ kind: 'imaged' }, 1);
    // The answer to 2 may be in; the one to 1 is not, so the kernel acknowledges nothing.
    expect(feed({ kind: 'tick' }, 10_000)).toEqual([]);
    expect(kinds(feed({ kind: 'acked', point: point(2) }, 10_001))).toEqual(['write']);
  });

  test('they keep their distance: imageMs, or imageRest times what the last one took', () => {
    const { state, feed, point, effect } = start();
    effect(1, 0);
    feed({ kind: 'acked', point: point(1) }, 1);
    feed({ kind: 'imaged' }, 200);
    feed({ kind: 'written' }, 210);
    expect(effect(2, 300)).toEqual([]);
    expect(journalDeadline(state)).toBe(800);
    expect(feed({ kind: 'tick' }, 800)).toMatchObject([{ kind: 'image', point: point(2) }]);
  });

  test('the ring never gives the slot of the image in use, nor of the last one on the disk itself', () => {
    const { state, feed, point, effect } = start();
    let now = 0;
    for (let request = 1; request <= 40; request++) {
      const [image] = effect(request, now);
      if (image?.kind !== 'image') throw new Error(`no image at ${String(now)}`);
      expect(image.slot).not.toBe(state.current?.slot);
      expect(image.slot).not.toBe(state.lastSynced?.slot);
      feed({ kind: 'imaged' }, now + 1);
      feed({ kind: 'acked', point: point(request) }, now + 2);
      feed({ kind: 'written' }, now + 3);
      now += 150;
    }
    expect(state.lastSynced?.point.request).toBeLessThan(state.current?.point.request ?? 0);
    expect(state.lastSynced?.point.request).toBeGreaterThan(30);
  });

  test('without a kernel nobody reads answers, and the image counts at once', () => {
    const { feed, effect } = start();
    effect(1, 0);
    feed({ kind: 'detached' }, 1);
    expect(kinds(feed({ kind: 'imaged' }, 2))).toEqual(['write']);
  });

  test('a refused image is taken again after a pause, and the trouble is told once', () => {
    const { feed, effect } = start();
    effect(1, 0);
    const refused = { kind: 'imageRefused', message: 'no space left on device' } as const;
    expect(feed(refused, 10)).toEqual([{ kind: 'trouble', message: 'no space left on device' }]);
    expect(feed({ kind: 'tick' }, 509)).toEqual([]);
    expect(kinds(feed({ kind: 'tick' }, 510))).toEqual(['image']);
    expect(feed(refused, 520)).toEqual([]);
  });

  test('with the journal off none is ever taken, and rows are written all the same', () => {
    const { feed, effect } = start('off');
    expect(effect(1, 0)).toEqual([]);
    feed({ kind: 'paid', rows: ['a'] }, 0);
    expect(kinds(feed({ kind: 'tick' }, 100))).toEqual(['write']);
  });
});

describe('rows', () => {
  test('they are gathered for flushMs and written together', () => {
    const { state, feed } = start();
    expect(feed({ kind: 'paid', rows: ['a'] }, 1_000)).toEqual([]);
    expect(feed({ kind: 'paid', rows: ['b'] }, 1_050)).toEqual([]);
    expect(journalDeadline(state)).toBe(1_100);
    expect(feed({ kind: 'tick' }, 1_100)).toEqual([
      { kind: 'write', rows: ['a', 'b'], image: null, isSynced: false },
    ]);
  });

  test('a new image takes the rows with it, in the same transaction', () => {
    const { feed, point, effect } = start();
    effect(1, 0);
    feed({ kind: 'paid', rows: ['a'] }, 1);
    feed({ kind: 'acked', point: point(1) }, 2);
    expect(feed({ kind: 'imaged' }, 3)).toMatchObject([{ kind: 'write', rows: ['a'] }]);
  });

  test('refused ones are written again in their order, with what came since', () => {
    const { state, feed } = start();
    feed({ kind: 'paid', rows: ['a'] }, 0);
    feed({ kind: 'tick' }, 100);
    feed({ kind: 'paid', rows: ['b'] }, 110);
    expect(feed({ kind: 'writeRefused', message: 'full' }, 120)).toEqual([
      { kind: 'trouble', message: 'full' },
    ]);
    expect(journalDeadline(state)).toBe(620);
    expect(feed({ kind: 'tick' }, 620)).toMatchObject([{ kind: 'write', rows: ['a', 'b'] }]);
    expect(kinds(feed({ kind: 'written' }, 630))).toEqual(['recovered']);
  });

  test('it says when so many wait that no more may be made', () => {
    const { state, feed } = start();
    feed({ kind: 'paid', rows: Array.from({ length: 10 }, String) }, 0);
    expect(isFull(state)).toBe(true);
    feed({ kind: 'tick' }, 100);
    expect(isFull(state)).toBe(true);
    feed({ kind: 'written' }, 101);
    expect(isFull(state)).toBe(false);
  });
});

describe('haste', () => {
  test('a kernel that comes waits for images, not for the pause between them', () => {
    const { state, feed, point, effect } = start();
    effect(1, 0);
    feed({ kind: 'imaged' }, 40);
    feed({ kind: 'acked', point: point(1) }, 40);
    feed({ kind: 'written' }, 40);
    expect(isSettled(state)).toBe(true);
    // Four times what the last one took: the pause lasts until 160.
    expect(effect(2, 50)).toEqual([]);
    expect(isSettled(state)).toBe(false);
    feed({ kind: 'attached', session: 2 }, 60);
    expect(kinds(feed({ kind: 'settle' }, 60))).toEqual(['image']);
    // What it did not see the answer of comes after the image, which is made all the same.
    expect(effect(3, 65)).toEqual([]);
    expect(kinds(feed({ kind: 'imaged' }, 70))).toEqual(['write']);
    expect(kinds(feed({ kind: 'written' }, 75))).toEqual(['durable', 'image']);
    expect(kinds(feed({ kind: 'imaged' }, 80))).toEqual(['write']);
    feed({ kind: 'paid', rows: ['a'] }, 82);
    expect(kinds(feed({ kind: 'written' }, 85))).toEqual(['durable', 'write']);
    expect(isSettled(state)).toBe(false);
    feed({ kind: 'written' }, 87);
    expect(isSettled(state)).toBe(true);
    // Nobody waits any more.
    expect(effect(4, 86)).toEqual([]);
  });

  test('a disk that refuses is not hurried, and without images nobody waits', () => {
    const { state, feed, effect } = start();
    effect(1, 0);
    feed({ kind: 'settle' }, 1);
    expect(kinds(feed({ kind: 'imageRefused', message: 'full' }, 2))).toEqual(['trouble']);
    expect(feed({ kind: 'settle' }, 3)).toEqual([]);
    expect(journalDeadline(state)).toBe(502);
    const off = start('off');
    off.effect(1, 0);
    expect(isSettled(off.state)).toBe(true);
  });
});

describe('the end', () => {
  test('what is not journaled is, before it closes', () => {
    const { feed, point, effect } = start();
    effect(1, 0);
    feed({ kind: 'imaged' }, 1);
    feed({ kind: 'acked', point: point(1) }, 2);
    feed({ kind: 'written' }, 3);
    expect(effect(2, 4)).toEqual([]);
    feed({ kind: 'acked', point: point(2) }, 5);
    feed({ kind: 'paid', rows: ['a'] }, 6);
    expect(kinds(feed({ kind: 'close' }, 7))).toEqual(['image', 'write']);
    feed({ kind: 'written' }, 8);
    expect(kinds(feed({ kind: 'imaged' }, 9))).toEqual(['write']);
    expect(kinds(feed({ kind: 'written' }, 10))).toEqual(['durable', 'closed']);
  });

  test('answers that nobody has read and a disk that refuses do not hold it up', () => {
    const { feed, effect } = start();
    effect(1, 0);
    feed({ kind: 'paid', rows: ['a'] }, 0);
    expect(kinds(feed({ kind: 'close' }, 1))).toEqual(['write']);
    expect(feed({ kind: 'imaged' }, 2)).toEqual([]);
    expect(kinds(feed({ kind: 'writeRefused', message: 'full' }, 3))).toEqual([
      'trouble',
      'closed',
    ]);
  });
});
