/** @file Courses of audits: who is caught, what is paid, and what happens to answers that nobody can judge. Judges are made up. */
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import { step } from '../../../kernel/src/core/cluster/machine.js';
import { ANNA, BEN, CLEO, DATA, DORA, HASH, OWN, start, workOf } from './auditLib.js';

test('who is asked to repeat an answer and lies is caught by the next one, and unpaid for that unit', () => {
  const it = start();
  it.join(ANNA, BEN);
  const honest = it.answer(ANNA, 1, 5);
  // The user's own worker is still starting.
  const lie = it.repeat(BEN, 6);
  it.join(OWN);
  it.pass(0);
  it.repeat(OWN, 5);
  expect(it.told).toEqual(['ben caught']);
  expect([it.paid(honest), it.paid(lie)]).toEqual(['clean', 'refused']);
  expect(it.held).toBeNull();
});

test('all who gave another result than the one that two agree on are caught', () => {
  const it = start();
  it.join(ANNA, BEN, CLEO, DORA);
  const lie = it.answer(ANNA, 1, 6);
  const units = [it.repeat(BEN, 7), it.repeat(CLEO, 5), it.repeat(DORA, 5)];
  expect(it.told).toEqual(['anna caught, built on', 'ben caught']);
  expect([lie, ...units].map(it.paid)).toEqual(['refused', 'refused', 'clean', 'clean']);
});

test('the word of who was caught meanwhile decides nothing', () => {
  const it = start();
  it.join(ANNA, BEN, CLEO, DORA);
  const honest = it.answer(ANNA, 1, 5);
  it.repeat(BEN, 6);
  it.answer(BEN, 2, 6);
  it.join(OWN);
  // Anna's goes on as it was asked; Ben's own answer is judged by the user's worker first.
  const [anna = 0, ben = 0] = it.asked.keys();
  const rule = it.asked.get(anna);
  it.asked.delete(anna);
  expect(it.asked.has(ben)).toBe(true);
  it.repeat(OWN, 5);
  expect(it.told).toEqual(['ben caught, built on']);
  if (rule !== undefined) it.asked.set(anna, rule);
  // Cleo says what Ben said: alone, that is no majority.
  it.repeat(CLEO, 6);
  expect(it.paid(honest)).toBe('open');
  it.repeat(OWN, 5);
  expect(it.told).toEqual(['ben caught, built on', 'cleo caught']);
  expect(it.paid(honest)).toBe('clean');
});

test('an answer that comes with a refused one is refused as well, and holds the run', () => {
  const it = start();
  it.join(ANNA, OWN);
  const odd = it.answer(ANNA, 1, Number.NaN);
  expect(it.told).toEqual(['anna caught, built on']);
  it.join(ANNA);
  it.cluster.standings.clear();
  it.join(ANNA);
  const late = it.answer(ANNA, 2, 5);
  expect([odd, late].map(it.paid)).toEqual(['refused', 'refused']);
  expect(it.held).toBe(1);
});

test('four results of which no two agree: done again, unpaid, and nobody is accused', () => {
  const it = start();
  it.join(ANNA, BEN, CLEO, DORA);
  const units = [
    it.answer(ANNA, 1, 1),
    ...[it.repeat(BEN, 2), it.repeat(CLEO, 3), it.repeat(DORA, 4)],
  ];
  expect(it.told).toEqual(['anna withheld']);
  expect(units.map(it.paid)).toEqual(['refused', 'refused', 'refused', 'refused']);
  // Until it was done again nothing of it is relied on.
  expect(it.held).toBe(1);
  expect(it.auditor.book.isCaught(ANNA)).toBe(false);
});

test('two that differ and nobody to decide: asked again when a third one comes, else done again', () => {
  const it = start();
  it.join(ANNA, BEN);
  it.answer(ANNA, 1, 1);
  it.repeat(BEN, 2);
  expect(it.asked.size).toBe(0);
  it.pass(ENGINE_LIMITS.auditWaitMs - 1);
  expect([it.told, it.held]).toEqual([[], 1]);
  it.pass(1);
  expect(it.told).toEqual(['anna withheld']);

  const other = start();
  other.join(ANNA, BEN);
  other.answer(ANNA, 1, 1);
  other.repeat(BEN, 2);
  other.pass(ENGINE_LIMITS.auditWaitMs - 1);
  other.join(OWN);
  other.pass(0);
  other.repeat(OWN, 1);
  expect(other.told).toEqual(['ben caught']);
});

test('an audit that judges fail vouches for nothing before it', () => {
  const it = start(0.999);
  it.cluster.verified.set(ANNA, 100);
  it.join(ANNA, BEN, CLEO);
  const before = it.answer(ANNA, 1, 1);
  it.answer(ANNA, 2, 1);
  it.pass(ENGINE_LIMITS.auditIdleMs);
  for (let times = 0; times < ENGINE_LIMITS.auditFailures; times++) it.fail();
  expect(it.told).toEqual(['anna withheld']);
  expect(it.paid(before)).toBe('refused');
  expect(it.held).toBe(1);
});

test("what the user's own worker is too small for counts, and the user is told", () => {
  const it = start();
  it.join(ANNA, OWN);
  const unit = it.answer(ANNA, 1, 1);
  for (let times = 0; times < ENGINE_LIMITS.auditFailures; times++) it.fail();
  expect(it.told).toEqual(['anna unverified']);
  expect([it.paid(unit), it.held]).toEqual(['unverified', null]);
});

test('a worker that is paused judges nothing, and nobody waits for it', () => {
  const it = start();
  it.join(ANNA, BEN);
  step(it.cluster, { kind: 'pause', worker: BEN }, 0, 0);
  it.answer(ANNA, 1, 1);
  it.pass(ENGINE_LIMITS.auditWaitMs);
  expect(it.told).toEqual(['anna unverified']);
});

test('answers that read data which is dropped are audited first', () => {
  const it = start(0.999);
  it.cluster.verified.set(ANNA, 100);
  it.join(ANNA, OWN);
  const unit = it.answer(ANNA, 1, 1);
  expect(it.auditor.usesProgram(HASH)).toBe(true);
  expect(it.auditor.usesData([DATA + 1])).toBe(false);
  expect(it.asked.size).toBe(0);
  expect(it.auditor.usesData([DATA])).toBe(true);
  it.repeat(OWN, 1);
  expect(it.auditor.usesData([DATA])).toBe(false);
  expect(it.paid(unit)).toBe('clean');
});

test('too much to keep is kept as a hash, which a judge of the same class is compared with', () => {
  const limit = ENGINE_LIMITS.auditBytes;
  jest.replaceProperty(ENGINE_LIMITS, 'auditBytes', 3);
  const it = start(0.999);
  it.cluster.verified.set(ANNA, 100).set(BEN, 100);
  it.join(ANNA, BEN, OWN);
  const right = it.answer(ANNA, 1, 1);
  const wrong = it.answer(BEN, 2, 6);
  it.pass(ENGINE_LIMITS.auditIdleMs);
  it.repeat(OWN, 1);
  it.repeat(OWN, 1);
  expect([right, wrong].map(it.paid)).toEqual(['clean', 'refused']);
  jest.restoreAllMocks();
  expect(ENGINE_LIMITS.auditBytes).toBe(limit);
});

test('units of an earlier life are vouched for by the next clean audit of their worker', () => {
  const it = start();
  it.join(ANNA, OWN);
  it.auditor.restore([workOf(ANNA, 7), workOf(BEN, 8)]);
  it.pass(ENGINE_LIMITS.auditIdleMs);
  expect(it.paid('anna 7')).toBe('open');
  it.answer(ANNA, 2, 1);
  it.repeat(OWN, 1);
  expect(it.paid('anna 7')).toBe('clean');
  // Ben never came back.
  expect(it.paid('ben 8')).toBe('open');
  it.pass(ENGINE_LIMITS.auditWaitMs);
  expect([it.paid('ben 8'), it.told]).toEqual(['unverified', []]);
});

test('... and refused when it is caught first', () => {
  const it = start();
  it.join(ANNA, OWN);
  it.auditor.restore([workOf(ANNA, 7)]);
  it.answer(ANNA, 2, 6);
  it.repeat(OWN, 1);
  expect(it.paid('anna 7')).toBe('refused');
});

const KNOWN = 'onnx-cpu 1.22 avx2';

/** A stranger with a good name, whose answers are checked, and a judge. */
function known(bitClass = KNOWN) {
  const it = start(0.999, bitClass);
  it.cluster.verified.set(ANNA, 100);
  it.join(ANNA, OWN);
  it.check();
  return it;
}

test('a wrong product catches who sent it, without a judge', () => {
  const it = known();
  const unit = it.answer(ANNA, 1, 6);
  it.checked('wrong');
  expect([it.told, it.asked.size]).toEqual([['anna caught, built on'], 0]);
  expect([it.paid(unit), it.held]).toEqual(['refused', 1]);
});

test.each([
  ['of a backend whose arithmetic is not known', 'onnx-cuda 1.22 sm90', 'wrong'],
  ['that cannot be told from rounding', KNOWN, 'unclear'],
] as const)(
  'a product %s is repeated, and accuses nobody by itself',
  (_name, bitClass, opinion) => {
    const it = known(bitClass);
    const unit = it.answer(ANNA, 1, 5);
    it.checked(opinion);
    expect([it.told, it.asked.size]).toEqual([[], 1]);
    it.repeat(OWN, 5);
    expect([it.told, it.paid(unit)]).toEqual([[], 'clean']);
  },
);

test('a right product waits for an audit as any answer', () => {
  const it = known();
  const unit = it.answer(ANNA, 1, 5);
  it.checked('right');
  expect([it.asked.size, it.paid(unit), it.held]).toEqual([0, 'open', 1]);
  it.pass(ENGINE_LIMITS.auditIdleMs);
  it.repeat(OWN, 5);
  expect([it.paid(unit), it.held]).toEqual(['clean', null]);
});

test('while a product is being checked, no later answer vouches for it', () => {
  const it = known();
  const first = it.answer(ANNA, 1, 6);
  const second = it.answer(ANNA, 2, 5);
  expect(it.auditor.usesData([DATA])).toBe(true);
  // The second one is through first, and is repeated.
  const waits = it.takeCheck();
  it.checked('unclear');
  it.repeat(OWN, 5);
  expect([it.paid(first), it.paid(second), it.held]).toEqual(['open', 'clean', 1]);
  waits?.({ opinion: 'wrong', output: 0, row: 0, column: 0 });
  expect([it.told, it.paid(first)]).toEqual([['anna caught, built on'], 'refused']);
  expect(it.auditor.usesData([DATA])).toBe(false);
});

test('where nobody can repeat anything, products are checked all the same', () => {
  const it = start(0, KNOWN);
  it.join(ANNA);
  it.answer(ANNA, 1, 5);
  it.pass(ENGINE_LIMITS.auditWaitMs);
  it.check();
  const right = it.answer(ANNA, 2, 5);
  expect([it.paid(right), it.held]).toEqual(['open', 2]);
  it.checked('right');
  expect([it.paid(right), it.held]).toEqual(['unverified', null]);
  const wrong = it.answer(ANNA, 3, 6);
  it.checked('wrong');
  expect(it.told.at(-1)).toBe('anna caught, built on');
  expect([it.paid(wrong), it.held]).toEqual(['refused', 3]);
});
