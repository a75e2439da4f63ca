/** @file Outcomes of a compute process that may say anything. */
import type { UnitOutcome } from '../../../../worker/src/compute/computeMessages.js';
import { checkedOutcome } from '../../../../worker/src/net/outcomes.js';

const outcome: UnitOutcome = {
  ...{ unit: 2, status: 'ok', computeUs: 5, output: -1, error: null },
  outputs: [new Uint8Array(8), new Uint8Array(4)],
};

test('outputs of the sizes that the program says are a result', () => {
  expect(checkedOutcome(outcome, [8, 4])).toBe(outcome);
});

test.each([[[8]], [[8, 5]], [[8, 4, 0]]])(
  'outputs of other sizes than %j are a failure',
  (sizes) => {
    expect(checkedOutcome(outcome, sizes)).toMatchObject({
      ...{ unit: 2, status: 'failed', outputs: [] },
      error: { code: 'internal', retryable: true },
    });
  },
);

test('a failure with outputs is one without', () => {
  expect(checkedOutcome({ ...outcome, status: 'cancelled' }, [8, 4])).toMatchObject({
    status: 'failed',
    outputs: [],
  });
});
