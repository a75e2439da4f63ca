/** @file Which lanes fit into what is free: never more than there is, nobody twice, and one that is too large keeps no other away. */
import fc from 'fast-check';
import type { Address } from '@ravenlab/protocol';
import { planReservation } from '../../../../kernel/src/core/chain/reservation.js';

const [ANN, BEN, CID] = ['a', 'b', 'c'].map((digit) => `0x${digit.repeat(40)}` as Address) as [
  Address,
  Address,
  Address,
];
const NONE = new Map<Address, bigint>();

test('one that is too large keeps no other away, and what it lacks is told', () => {
  const wanted = [
    { payee: ANN, cap: 10n },
    { payee: BEN, cap: 500n },
    { payee: CID, cap: 20n },
  ];
  expect(planReservation({ wanted, taken: NONE, asked: NONE, free: 100n })).toEqual({
    ...{ fits: [wanted[0], wanted[2]], left: 1, lacks: 430n },
  });
});

test('what was asked for is spoken for, until a block has it', () => {
  const wanted = [{ payee: BEN, cap: 60n }];
  const asked = new Map([[ANN, 50n]]);
  expect(planReservation({ wanted, taken: NONE, asked, free: 100n })).toMatchObject({
    ...{ fits: [], left: 1, lacks: 10n },
  });
  // In a block, it is not in what is free any more.
  const taken = new Map([[ANN, 50n]]);
  expect(planReservation({ wanted, taken, asked, free: 100n })).toMatchObject({
    ...{ fits: wanted, left: 0, lacks: 0n },
  });
});

test('who has as much, or will have, asks for nothing', () => {
  const wanted = [
    { payee: ANN, cap: 10n },
    { payee: BEN, cap: 10n },
  ];
  const [taken, asked] = [new Map([[ANN, 10n]]), new Map([[BEN, 12n]])];
  expect(planReservation({ wanted, taken, asked, free: 12n })).toEqual({
    ...{ fits: [], left: 0, lacks: 0n },
  });
});

test('property: what is asked for in all never exceeds what is free', () => {
  const amount = fc.bigInt({ min: 0n, max: 1_000n });
  const caps = fc.dictionary(fc.constantFrom(ANN, BEN, CID), amount);
  fc.assert(
    fc.property(caps, caps, caps, amount, (wish, taken, asked, spare) => {
      const mapOf = (of: Record<string, bigint>) => new Map(Object.entries(of)) as typeof NONE;
      const wanted = [...mapOf(wish)].map(([payee, cap]) => ({ payee, cap }));
      const had = (payee: Address) => mapOf(taken).get(payee) ?? 0n;
      const most = (a: bigint, b: bigint) => (a > b ? a : b);
      const before = [...mapOf(asked)].map(([payee, cap]) => most(cap - had(payee), 0n));
      const free = before.reduce((sum, each) => sum + each, spare);
      const plan = planReservation({ wanted, taken: mapOf(taken), asked: mapOf(asked), free });
      const all = new Map(mapOf(asked));
      for (const { payee, cap } of plan.fits) all.set(payee, most(cap, all.get(payee) ?? 0n));
      const sum = [...all].reduce((each, [payee, cap]) => each + most(cap - had(payee), 0n), 0n);
      expect(sum).toBeLessThanOrEqual(free);
      expect(plan.left === 0).toBe(plan.lacks === 0n);
    }),
  );
});
