/** @file What a pass keeps from one grant to the next must be what one that looks at everybody afresh would find. */
import type { ExecutionId } from '@ravenlab/protocol';
import fc from 'fast-check';
import type { Bid } from '../../kernel/src/core/cluster/bids.js';
import {
  Bids,
  backlogUs,
  expectedUs,
  roomFor,
  transferUsOf,
} from '../../kernel/src/core/cluster/bids.js';
import { grant } from '../../kernel/src/core/cluster/leases.js';
import { missingFor } from '../../kernel/src/core/cluster/residency.js';
import type { Execution, Member, Unit } from '../../kernel/src/core/cluster/state.js';
import { MIB, Scheduler, resource, worker } from '../unit/core/cluster/lib.js';

interface Machine {
  /** Of one unit of the program; null for one that has not run it. */
  readonly unitUs: number | null;
  readonly latencyUs: number;
  readonly windowKiB: number;
  /** Blocks that it holds. */
  readonly blocks: readonly number[];
  readonly refuses: boolean;
}

const BLOCKS = 4;
const BLOCK_BYTES = 3 * MIB;

const machine: fc.Arbitrary<Machine> = fc.record({
  unitUs: fc.option(fc.integer({ min: 1, max: 40_000 })),
  latencyUs: fc.integer({ min: 0, max: 5_000 }),
  windowKiB: fc.constantFrom(64, 4_096, 65_536),
  blocks: fc.subarray([0, 1, 2, 3]),
  refuses: fc.boolean(),
});

/** Members with their pasts, and an execution that nobody may take yet: all its units wait. */
function scene(machines: readonly Machine[], units: number, hasBlocks: boolean) {
  const scheduler = new Scheduler();
  const program = resource(1);
  for (const [at, { windowKiB }] of machines.entries()) {
    scheduler.join(`w${String(at)}`, { windowBytes: windowKiB * 1024, memoryBytes: 16 * MIB });
    scheduler.feed({ kind: 'pause', worker: worker(`w${String(at)}`) });
  }
  const block = (shard: number) => resource(100 + (shard % BLOCKS), BLOCK_BYTES);
  const common = [resource(2, 50_000), resource(2, 50_000), program];
  scheduler.submit({
    ...{ units, program, common },
    ...(hasBlocks ? { perUnit: (shard: number) => [block(shard), program] } : {}),
  });
  const { state } = scheduler;
  const execution = state.executions.get(1 as ExecutionId);
  if (execution === undefined) throw new Error('the execution is gone');
  for (const [at, { unitUs, latencyUs, blocks, refuses }] of machines.entries()) {
    const member = state.members.get(worker(`w${String(at)}`));
    if (member === undefined) throw new Error('a member is gone');
    member.status = 'active';
    member.latencyUs = latencyUs;
    if (unitUs !== null) member.unitUs.set(program.id, unitUs);
    for (const which of blocks) {
      member.held.set(block(which).id, BLOCK_BYTES);
      member.heldBytes += BLOCK_BYTES;
    }
    const [first] = execution.units;
    if (refuses && first !== undefined) (first.refusedBy ??= new Set()).add(member.id);
  }
  return { state, execution, members: [...state.members.values()], now: scheduler.now };
}

/** The rule as it reads: everybody is asked for everything, each time. */
function asked(execution: Execution, units: readonly Unit[], all: readonly Member[], now: number) {
  const [unit] = units;
  if (unit === undefined) throw new Error('no unit');
  const { refusedBy } = unit;
  const able = all.filter(
    ({ id }) => refusedBy === null || refusedBy.size >= all.length || !refusedBy.has(id),
  );
  const offers = able.map((member) => {
    const unitUs = expectedUs(member, execution, unit);
    const fetch = missingFor(member, execution, units);
    const us = backlogUs(member, now) + unitUs * units.length + transferUsOf(fetch.missingBytes);
    return { member, us, evicted: roomFor(member, execution, units, fetch, unitUs) };
  });
  const soonestUs = Math.min(...offers.map(({ us }) => us));
  const roomy = offers.filter(({ evicted }) => evicted !== null);
  const bestUs = Math.min(...roomy.map(({ us }) => us));
  const best = roomy.find(({ us }) => us === bestUs);
  if (best === undefined) return 'wait';
  let held = 0;
  let perMs = 0;
  for (const member of able) {
    const unitUs = Math.max(1, expectedUs(member, execution, unit));
    held += backlogUs(member, now) / unitUs;
    perMs += 1000 / unitUs;
  }
  const drainUs = Math.ceil(((held + execution.queue.length) * 1000) / perMs);
  if (bestUs === soonestUs || bestUs <= drainUs) return best.member.id;
  return best.member.leases.size === 0 ? 'smaller' : 'wait';
}

const told = (bid: Bid): string => (typeof bid === 'string' ? bid : bid.member.id);

test('every choice of a pass is the one of a pass that has just begun', () => {
  fc.assert(
    fc.property(
      fc.array(machine, { minLength: 1, maxLength: 6 }),
      fc.integer({ min: 1, max: 24 }),
      fc.constantFrom(1, 2),
      fc.boolean(),
      (machines, count, size, hasBlocks) => {
        const { state, execution, members, now } = scene(machines, count * size, hasBlocks);
        const bids = new Bids(execution, members, members.length, now);
        while (execution.queue.length >= size) {
          const shard = execution.queue.at(-1) ?? 0;
          const units = execution.units.slice(shard, shard + size);
          const bid = bids.choose(units);
          expect(told(bid)).toBe(asked(execution, units, members, now));
          if (typeof bid === 'string') break;
          execution.queue.length -= size;
          state.queuedUnits -= size;
          grant(state, execution, units, bid, now);
          bids.granted(bid.member);
        }
      },
    ),
    { numRuns: 400 },
  );
});
