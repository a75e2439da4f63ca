/** @file Which answers are audited, what vouches for what, and how far a run can be relied on meanwhile. */
import type { WorkerId } from '@ravenlab/protocol';
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import type { Answer } from '../../../../kernel/src/core/verify/auditBook.js';
import { AuditBook, auditShare } from '../../../../kernel/src/core/verify/auditBook.js';
import { randomOf } from './lib.js';

const [ANNA, BEN] = ['anna', 'ben'] as [WorkerId, WorkerId];
const IDLE = (): boolean => false;

function answerOf(seq: number, worker = ANNA, request = seq): Answer {
  return {
    seq,
    worker,
    point: { session: 1, request },
    isEffect: true,
    shard: 0,
    count: 1,
    leases: [],
  };
}

/** Nobody is audited by chance. */
function bookOf(verified: readonly (readonly [WorkerId, number])[] = [], random = () => 0.999) {
  return new AuditBook({ random, verified: new Map(verified) });
}

const seqsOf = (judged: readonly { readonly answer: Answer }[]): number[] =>
  judged.map(({ answer }) => answer.seq);

test('the first ten answers of a stranger are all audited, later ones by chance', () => {
  const book = bookOf();
  for (let seq = 1; seq <= ENGINE_LIMITS.auditFirst; seq++) {
    expect(book.answered(answerOf(seq), 0)).toBe(true);
    book.clean(answerOf(seq));
  }
  expect(book.answered(answerOf(11), 0)).toBe(false);
});

test('the share of audits falls with what was found clean and has a floor', () => {
  expect([0, 9, 10, 20, 1_000].map(auditShare)).toEqual([1, 1, 0.1, 0.05, 0.05]);
});

test('over 2,000 answers of one stranger 4 to 8 % are audited', () => {
  const book = bookOf([], randomOf(2));
  let audits = 0;
  for (let seq = 1; seq <= 2_000; seq++) {
    if (!book.answered(answerOf(seq), 0)) continue;
    audits++;
    book.clean(answerOf(seq));
  }
  expect(audits).toBeGreaterThan(80);
  expect(audits).toBeLessThan(160);
});

test('a clean audit vouches for all that its worker answered before, and for nobody else', () => {
  const book = bookOf([
    [ANNA, 50],
    [BEN, 50],
  ]);
  book.answered(answerOf(1, ANNA), 0);
  book.answered(answerOf(2, BEN), 0);
  book.answered(answerOf(3, ANNA), 0);
  expect(seqsOf(book.clean(answerOf(3, ANNA)))).toEqual([1, 3]);
  expect(book.heldFrom()).toEqual({ session: 1, request: 2 });
});

test('an audit that is under way is vouched for by no other', () => {
  const book = bookOf();
  book.answered(answerOf(1), 0);
  book.answered(answerOf(2), 0);
  expect(seqsOf(book.clean(answerOf(2)))).toEqual([2]);
  expect(book.heldFrom()).toEqual({ session: 1, request: 1 });
  expect(seqsOf(book.clean(answerOf(1)))).toEqual([1]);
  expect(book.heldFrom()).toBeNull();
});

test('the last answer of a worker that falls idle is audited after a while, and no other is', () => {
  const book = bookOf([[ANNA, 50]]);
  book.answered(answerOf(1), 0);
  book.answered(answerOf(2), 100);
  const { auditIdleMs } = ENGINE_LIMITS;
  expect(book.due(auditIdleMs, IDLE)).toEqual([]);
  expect(book.due(100 + auditIdleMs, () => true)).toEqual([]);
  expect(book.due(100 + auditIdleMs, IDLE).map(({ seq }) => seq)).toEqual([2]);
  expect(book.due(100 + auditIdleMs, IDLE)).toEqual([]);
  expect(seqsOf(book.clean(answerOf(2)))).toEqual([1, 2]);
});

test('who is caught is refused all that nobody vouched for, and holds the run where it began', () => {
  const book = bookOf([[ANNA, 50]]);
  book.answered(answerOf(1), 0);
  book.clean(answerOf(1));
  book.answered(answerOf(2), 0);
  book.answered(answerOf(3), 0);
  const judged = book.caught(ANNA);
  expect(seqsOf(judged)).toEqual([2, 3]);
  expect(judged.every(({ verdict }) => verdict === 'refused')).toBe(true);
  expect(book.clean(answerOf(3))).toEqual([]);
  expect(book.heldFrom()).toEqual({ session: 1, request: 2 });
});

test('what nobody can repeat is said to be unverified, and counts for no reputation', () => {
  const verified = new Map<WorkerId, number>();
  const book = new AuditBook({ random: () => 0, verified });
  book.answered(answerOf(1), 0);
  expect(book.unverified(answerOf(1))).toMatchObject([{ verdict: 'unverified' }]);
  expect(book.heldFrom()).toBeNull();
  expect(verified.size).toBe(0);
});

test('a request without an effect, or one that was withdrawn, holds nothing', () => {
  const book = bookOf([[ANNA, 50]]);
  book.answered({ ...answerOf(1), isEffect: false }, 0);
  book.answered(answerOf(2), 0);
  book.withdrawn({ session: 1, request: 2 });
  expect(book.heldFrom()).toBeNull();
  expect(seqsOf(book.clean(answerOf(2)))).toEqual([1, 2]);
});

test('whoever cheats from some answer on is caught before anything wrong is relied on', () => {
  for (let seed = 1; seed <= 200; seed++) {
    const random = randomOf(seed);
    const book = bookOf([[ANNA, 10]], random);
    const turnsAt = 1 + Math.floor(random() * 60);
    let isCaught = false;
    for (let seq = 1; seq <= 2_000 && !isCaught; seq++) {
      const isAudited = book.answered(answerOf(seq), 0);
      isCaught = isAudited && seq >= turnsAt;
      if (isAudited && !isCaught) book.clean(answerOf(seq));
      const held = book.heldFrom();
      const reliedOn = held === null ? seq : held.request - 1;
      expect(reliedOn).toBeLessThan(turnsAt > seq ? seq + 1 : turnsAt);
    }
    expect(isCaught).toBe(true);
  }
});
