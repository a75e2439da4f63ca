/** @file Who may knock: bursts, refills, addresses told apart, and memory that does not grow with the number of callers. */
import { GATE_LIMITS } from '@ravenlab/protocol';
import { Doorman, callerOf } from '../../../../kernel/src/engine/gate/doorman.js';

const { arrivalsBurst, arrivalsPerSecond, strangersPerAddress, addresses } = GATE_LIMITS;

test('a burst is let in, then as many as the rate refills', () => {
  const doorman = new Doorman();
  const arrivals = (count: number, nowMs: number): number => {
    let letIn = 0;
    for (let i = 0; i < count; i++) {
      if (!doorman.arrive('a', nowMs)) continue;
      letIn++;
      doorman.settle('a');
    }
    return letIn;
  };
  expect(arrivals(2 * arrivalsBurst, 0)).toBe(arrivalsBurst);
  expect(arrivals(1000, 1000)).toBe(arrivalsPerSecond);
  expect(arrivals(1000, 1000)).toBe(0);
  expect(arrivals(2 * arrivalsBurst, 3_600_000)).toBe(arrivalsBurst);
  expect(doorman.arrive('b', 3_600_000)).toBe(true);
});

test('one address has so many waiting, and another one is not concerned', () => {
  const doorman = new Doorman();
  for (let i = 0; i < strangersPerAddress; i++) expect(doorman.arrive('a', 0)).toBe(true);
  expect(doorman.arrive('a', 0)).toBe(false);
  expect(doorman.arrive('b', 0)).toBe(true);
  expect(doorman.busiest()).toBe('a');
  doorman.settle('a');
  expect(doorman.arrive('a', 0)).toBe(true);
  doorman.settle('nobody');
  expect(doorman.waiting('a')).toBe(strangersPerAddress);
});

test('who calls from ever new addresses does not fill memory, nor turn out those that wait', () => {
  const doorman = new Doorman();
  doorman.arrive('waits', 0);
  for (let i = 0; i < 3 * addresses; i++) {
    const address = `a${String(i)}`;
    expect(doorman.arrive(address, i)).toBe(true);
    doorman.settle(address);
  }
  expect(doorman.waiting('waits')).toBe(1);
  const { callers } = doorman as unknown as { readonly callers: ReadonlyMap<string, unknown> };
  expect(callers.size).toBe(addresses);
});

test('when every known address has somebody waiting, a new one has to come again', () => {
  const doorman = new Doorman();
  for (let i = 0; i < addresses; i++) doorman.arrive(`a${String(i)}`, 0);
  expect(doorman.arrive('one more', 0)).toBe(false);
  doorman.settle('a7');
  expect(doorman.arrive('one more', 0)).toBe(true);
});

test.each([
  ['192.0.2.7', '192.0.2.7'],
  ['::ffff:192.0.2.7', '192.0.2.7'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:DB8:1:2:ffff::1', '2001:db8:1:2::/64'],
  ['2001:0db8::1', '2001:db8:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
])('%s calls as %s', (address, caller) => {
  expect(callerOf(address)).toBe(caller);
});
