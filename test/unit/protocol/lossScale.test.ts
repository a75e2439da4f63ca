/** @file The scale of a float16 run's losses from step to step. */
import type { LossScale } from '@ravenlab/protocol';
import { FIRST_LOSS_SCALE, LOSS_SCALE, nextLossScale, readLossScale } from '@ravenlab/protocol';

/** After steps that overflowed or did not. */
function after(from: LossScale, steps: readonly boolean[]): LossScale | null {
  return steps.reduce<LossScale | null>(
    (scale, overflowed) => (scale === null ? null : nextLossScale(scale, overflowed)),
    from,
  );
}

const good = (count: number): boolean[] => new Array<boolean>(count).fill(false);

test('begins, grows and gives way as that of torch.amp.GradScaler', () => {
  expect(FIRST_LOSS_SCALE).toEqual([65_536, 0]);
  expect(after(FIRST_LOSS_SCALE, good(1_999))).toEqual([65_536, 1_999]);
  expect(after(FIRST_LOSS_SCALE, good(2_000))).toEqual([131_072, 0]);
  // An overflow ends the row of good steps.
  expect(after(FIRST_LOSS_SCALE, [...good(1_999), true, ...good(1_999)])).toEqual([32_768, 1_999]);
});

test('has a largest and a smallest value, and says that the smallest was not to blame', () => {
  expect(after([LOSS_SCALE.max, 1_999], [false])).toEqual([LOSS_SCALE.max, 0]);
  expect(after([2 * LOSS_SCALE.min, 5], [true])).toEqual([LOSS_SCALE.min, 0]);
  expect(after([LOSS_SCALE.min, 5], [true])).toBeNull();
});

test('is read only where it is one', () => {
  expect(readLossScale(Float32Array.of(0.5, 3))).toEqual([0.5, 3]);
  const wrong = [
    [3, 0],
    [0, 0],
    [-1, 0],
    [NaN, 0],
    [Infinity, 0],
    [2 ** 25, 0],
    [2 ** -25, 0],
  ];
  const counts = [[1, 0.5], [1, -1], [1, 2_000], [1, NaN], [1], [1, 0, 0], []];
  for (const values of [...wrong, ...counts]) expect(readLossScale(values)).toBeNull();
});
