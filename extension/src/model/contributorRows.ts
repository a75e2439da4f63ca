/** @file Order and share of contributors for the tables; pure. */
import type { Contributor, Payee } from '@ravenlab/protocol';
import { compareAmounts, displayName } from '@ravenlab/protocol';

export type SortKey = 'name' | 'units' | 'rate' | 'latency' | 'earned';

export interface SortOrder {
  readonly key: SortKey;
  readonly isDescending: boolean;
}

/** Unknown values sort behind known ones in both directions. */
function compareNullable(a: number | null, b: number | null): number {
  if (a === null || b === null) return Number(a === null) - Number(b === null);
  return a - b;
}

type Compare = (a: Contributor, b: Contributor) => number;

function byName(a: Contributor, b: Contributor): number {
  return displayName(a).localeCompare(displayName(b));
}

const COMPARE: Readonly<Record<SortKey, Compare>> = {
  name: byName,
  units: (a, b) => a.unitsDone - b.unitsDone,
  rate: (a, b) => a.samplesPerSecond - b.samplesPerSecond,
  latency: (a, b) => compareNullable(a.latencyMs, b.latencyMs),
  earned: (a, b) => compareAmounts(a.earnedUnits, b.earnedUnits),
};

function isUnknown(row: Contributor, key: SortKey): boolean {
  return key === 'latency' && row.latencyMs === null;
}

/** Members first, those who left last; then by `order`; ties by id, so that rows never jump. */
export function sortContributors(
  rows: readonly Contributor[],
  order: SortOrder,
): readonly Contributor[] {
  const compare = COMPARE[order.key];
  const sign = order.isDescending ? -1 : 1;
  return [...rows].sort((a, b) => {
    const left = Number(a.state === 'gone') - Number(b.state === 'gone');
    if (left !== 0) return left;
    const unknown = Number(isUnknown(a, order.key)) - Number(isUnknown(b, order.key));
    if (unknown !== 0) return unknown;
    return sign * compare(a, b) || (a.workerId < b.workerId ? -1 : 1);
  });
}

/** The order after a click on a column head: the same column turns, another starts at its useful end. */
export function nextOrder(order: SortOrder, key: SortKey): SortOrder {
  if (order.key === key) return { key, isDescending: !order.isDescending };
  return { key, isDescending: key !== 'name' && key !== 'latency' };
}

export interface PayeeShare {
  readonly payee: Payee;
  /** Of the total, in [0, 1]. */
  readonly share: number;
}

/** Highest amount first, with the share of `totalMetered`. */
export function sharesOf(payees: readonly Payee[], totalMetered: string): readonly PayeeShare[] {
  const total = BigInt(totalMetered);
  return [...payees]
    .sort((a, b) => compareAmounts(b.metered, a.metered) || (a.workerId < b.workerId ? -1 : 1))
    .map((payee) => ({
      payee,
      // Parts per million in integers first: a double cannot hold the amounts.
      share: total === 0n ? 0 : Number((BigInt(payee.metered) * 1_000_000n) / total) / 1_000_000,
    }));
}
