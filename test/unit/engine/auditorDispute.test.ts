/** @file Two strangers that contradict each other with nobody else to ask: the engine computes the answer anew, where that can decide. */
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import { ANNA, BEN, CLEO, DATA, start } from './auditLib.js';

describe('two strangers that contradict each other, and nobody else is here', () => {
  const dispute = () => {
    const it = start();
    it.join(ANNA, BEN);
    it.compute();
    const answer = it.answer(ANNA, 1, 5);
    const repeated = it.repeat(BEN, 6);
    it.pass(ENGINE_LIMITS.auditWaitMs - 1);
    expect(it.told).toEqual([]);
    it.pass(1);
    expect(it.told).toEqual([]);
    return { it, answer, repeated };
  };

  test('the one who repeated it lied, as the engine computes it', () => {
    const { it, answer, repeated } = dispute();
    expect(it.auditor.usesData([DATA])).toBe(true);
    it.computed(5);
    expect(it.told).toEqual(['ben caught']);
    expect([it.paid(answer), it.paid(repeated)]).toEqual(['clean', 'refused']);
    expect(it.held).toBeNull();
    expect(it.auditor.usesData([DATA])).toBe(false);
  });

  test('the one who answered lied', () => {
    const { it, answer, repeated } = dispute();
    it.computed(6);
    expect(it.told).toEqual(['anna caught, built on']);
    expect([it.paid(answer), it.paid(repeated)]).toEqual(['refused', 'clean']);
  });

  test.each([
    ['both lied', 7],
    ['it cannot be computed', null],
  ])('%s: it is done again, and nobody is accused', (_what, truth) => {
    const { it, answer, repeated } = dispute();
    it.computed(truth);
    expect(it.told).toEqual(['anna withheld']);
    expect([it.paid(answer), it.paid(repeated)]).toEqual(['refused', 'refused']);
  });

  test('of two bit classes, which may overflow at different values, none is accused', () => {
    const it = start();
    it.join(ANNA);
    it.joinAs('other', BEN);
    it.compute();
    it.answer(ANNA, 1, 5);
    it.repeat(BEN, 6);
    it.pass(ENGINE_LIMITS.auditWaitMs);
    expect(it.told).toEqual(['anna withheld']);
  });

  test('a third one who comes in time is asked instead', () => {
    const it = start();
    it.join(ANNA, BEN);
    it.compute();
    const answer = it.answer(ANNA, 1, 5);
    it.repeat(BEN, 6);
    it.join(CLEO);
    it.pass(1);
    it.repeat(CLEO, 5);
    expect(it.told).toEqual(['ben caught']);
    expect(it.paid(answer)).toBe('clean');
  });

  test('whose answer was refused meanwhile is not looked at again', () => {
    const { it, answer } = dispute();
    it.answer(ANNA, 2, Number.NaN);
    expect(it.told).toEqual(['anna caught, built on']);
    it.computed(5);
    expect(it.told).toEqual(['anna caught, built on']);
    expect(it.paid(answer)).toBe('refused');
  });
});
