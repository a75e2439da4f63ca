/** @file Offers for gas: never above the ceiling, and each one high enough to replace the one before. */
import fc from 'fast-check';
import { firstOffer, raisedOffer } from '../../../../kernel/src/core/chain/fees.js';

const wei = fc.bigInt({ min: 1n, max: 10n ** 13n });
const market = fc
  .record({ baseFee: wei, maxPriorityFeePerGas: wei })
  .map(({ baseFee, maxPriorityFeePerGas }) => ({
    ...{ baseFee, maxPriorityFeePerGas },
    maxFeePerGas: 2n * baseFee + maxPriorityFeePerGas,
  }));

test('property: a first offer is within the ceiling and enough for the next block, or it waits', () => {
  fc.assert(
    fc.property(market, wei, (asked, ceiling) => {
      const offer = firstOffer(asked, ceiling);
      const needed = asked.baseFee + asked.maxPriorityFeePerGas;
      if (offer.kind === 'postpone') {
        expect(needed).toBeGreaterThan(ceiling);
        return;
      }
      expect(offer.fees.maxFeePerGas).toBeLessThanOrEqual(ceiling);
      expect(offer.fees.maxFeePerGas).toBeGreaterThanOrEqual(needed);
      expect(offer.fees.maxPriorityFeePerGas).toBeLessThanOrEqual(offer.fees.maxFeePerGas);
    }),
  );
});

test('property: a raised offer is an eighth more of both, within the ceiling, or it waits', () => {
  fc.assert(
    fc.property(market, market, wei, (first, later, ceiling) => {
      const before = firstOffer(first, ceiling);
      if (before.kind === 'postpone') return;
      const offer = raisedOffer(before.fees, later, ceiling);
      if (offer.kind === 'postpone') {
        expect(offer.asked).toBeGreaterThan(ceiling);
        return;
      }
      const { maxFeePerGas, maxPriorityFeePerGas } = offer.fees;
      expect(maxFeePerGas).toBeLessThanOrEqual(ceiling);
      expect(8n * maxFeePerGas).toBeGreaterThanOrEqual(9n * before.fees.maxFeePerGas);
      expect(8n * maxPriorityFeePerGas).toBeGreaterThanOrEqual(
        9n * before.fees.maxPriorityFeePerGas,
      );
      expect(maxPriorityFeePerGas).toBeLessThanOrEqual(maxFeePerGas);
    }),
  );
});
