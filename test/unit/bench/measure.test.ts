/** @file Fairness of the harness: contestants take turns, and warm-up samples are not kept. */
import { measure, timed } from '../../../bench/lib/measure.js';

describe('measure', () => {
  it('lets contestants take turns, so that drift hits all alike', async () => {
    const order: string[] = [];
    await measure(
      [
        { name: 'ours', run: () => order.push('ours') },
        { name: 'theirs', run: () => order.push('theirs') },
      ],
      { samples: 2, warmUp: 1 },
    );
    expect(order).toEqual(['ours', 'theirs', 'ours', 'theirs', 'ours', 'theirs']);
  });

  it('keeps the asked number of samples, without the warm-up', async () => {
    const { ours } = await measure([{ name: 'ours', run: () => 1 }], { samples: 7, warmUp: 3 });
    expect(ours.count).toBe(7);
  });

  it('calls several times inside one sample when one call is too short', async () => {
    let calls = 0;
    const run = (): number => (calls += 1);
    await measure([{ name: 'ours', run }], { samples: 2, warmUp: 1, callsPerSample: 10 });
    expect(calls).toBe(30);
  });

  it('counts the wait for a promise as part of the sample', async () => {
    let isDone = false;
    const run = (): Promise<void> =>
      new Promise((resolve) => {
        setImmediate(() => {
          isDone = true;
          resolve();
        });
      });
    await measure([{ name: 'ours', run }], { samples: 1, warmUp: 0 });
    expect(isDone).toBe(true);
  });

  it('passes an error of a contestant on', async () => {
    const run = (): never => {
      throw new Error('no socket');
    };
    await expect(measure([{ name: 'ours', run }], { samples: 1, warmUp: 0 })).rejects.toThrow(
      'no socket',
    );
  });
});

describe('timed', () => {
  it('returns what the work returned, with its time', async () => {
    const { ns, value } = await timed(() => 42);
    expect(value).toBe(42);
    expect(ns).toBeGreaterThan(0);
  });
});
