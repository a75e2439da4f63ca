/** @file When the promise of a run is kept and told; which promise it is is tested with the scheduler. */
import { createCluster } from '../../../kernel/src/core/cluster/state.js';
import { setPin } from '../../../kernel/src/core/cluster/classes.js';
import { PinKeeper, TOLERANCE_TIER } from '../../../kernel/src/engine/pinKeeper.js';

function scene({ isWritable = true } = {}) {
  const cluster = createCluster();
  const told: string[] = [];
  let saves = 0;
  const save = () => {
    saves++;
    return isWritable;
  };
  const pins = new PinKeeper({
    cluster: () => cluster,
    rules: { save },
    tell: (text) => told.push(text),
  });
  return { cluster, pins, told, saves: () => saves };
}

const pinned = { bitClass: 'a', isFirm: true, isMixed: false };

test('a run of one class is kept once, and nothing is told', () => {
  const { cluster, pins, told, saves } = scene();
  setPin(cluster, 'run', pinned);
  pins.committed('run');
  pins.committed('run');
  expect(saves()).toBe(1);
  expect(told).toEqual([]);
});

test('a run that becomes mixed is kept again and told once', () => {
  const { cluster, pins, told, saves } = scene();
  setPin(cluster, 'run', pinned);
  pins.committed('run');
  setPin(cluster, 'run', { ...pinned, isMixed: true });
  pins.committed('run');
  pins.committed('run');
  expect(saves()).toBe(2);
  expect(told).toEqual([TOLERANCE_TIER]);
});

test('what the disk did not take is tried again with the next step', () => {
  const { cluster, pins, saves } = scene({ isWritable: false });
  setPin(cluster, 'run', pinned);
  pins.committed('run');
  pins.committed('run');
  expect(saves()).toBe(2);
});
