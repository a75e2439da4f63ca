/** @file Planted bugs. The simulator must find every one of them, else its silence means nothing. */
import type { ClusterEffect, ClusterEvent } from '../../kernel/src/core/cluster/events.js';
import type { ClusterState } from '../../kernel/src/core/cluster/state.js';
import type {
  JournalEffect,
  JournalEvent,
  JournalState,
} from '../../kernel/src/core/journal/journal.js';
import type { SimRow } from './simDisk.js';

/** Bugs of the shell: what it forgets, or does too early. */
export type Flaw =
  /** A new kernel is let in before all that its predecessor did is durable. */
  | 'hastyAttach'
  /** Sizes of results are not checked. */
  | 'gullible'
  /** Lease ids begin again with every life of the engine. */
  | 'sameLeases'
  /** Versions on the wire are numbered as the states are: those of a lost life are taken for those of this one. */
  | 'sameWire'
  /** Stop reaches requests that were answered before the engine died. */
  | 'blindStop'
  /** A request that is repeated fails like a new one when workers refuse it. */
  | 'fragileRepeat'
  /** A restart forgets the bit class of the run. */
  | 'noPin'
  /** The bookmark is not of the version that it is journaled with. */
  | 'lateBookmark'
  /** A restarted engine is not asked again for everything. */
  | 'shortReplay'
  /** An image that was not forced to the disk is trusted after a loss of power. */
  | 'anyBoot'
  /** Audits never run. */
  | 'noAudit'
  /** The watermark passes what no audit vouches for. */
  | 'noHold'
  /** A caught cheat keeps its pay. */
  | 'paidCheat'
  /** Whoever finds a lie is taken for the liar. */
  | 'harshAudit';

/** A bug at an edge of the cores: events that they do not get, effects that they should not have made. */
export interface Canary {
  readonly name: string;
  readonly event?: (event: ClusterEvent) => ClusterEvent | null;
  readonly effects?: (
    effects: ClusterEffect[],
    event: ClusterEvent,
    state: ClusterState,
  ) => ClusterEffect[];
  readonly journalEvent?: (event: JournalEvent<SimRow>) => JournalEvent<SimRow>;
  /** What the journal does with its disk. */
  readonly journal?: (
    effects: JournalEffect<SimRow>[],
    state: JournalState<SimRow>,
  ) => JournalEffect<SimRow>[];
  /** What a restart knows to be paid. */
  readonly book?: (rows: readonly SimRow[]) => readonly SimRow[];
  readonly flaw?: Flaw;
}

const without =
  (kind: ClusterEffect['kind']) =>
  (effects: ClusterEffect[]): ClusterEffect[] =>
    effects.filter((effect) => effect.kind !== kind);

const twice =
  (kind: ClusterEffect['kind']) =>
  (effects: ClusterEffect[]): ClusterEffect[] =>
    effects.flatMap((effect) => (effect.kind === kind ? [effect, effect] : [effect]));

const deaf =
  (kind: ClusterEvent['kind']) =>
  (event: ClusterEvent): ClusterEvent | null =>
    event.kind === kind ? null : event;

/** Leases that backups were granted for, by cluster: whoever answers one too late is paid all the same. */
type Meter = Extract<ClusterEffect, { kind: 'meter' }>;
const metered = new WeakMap<ClusterState, Map<number, Meter>>();

function payLosers(
  effects: ClusterEffect[],
  event: ClusterEvent,
  state: ClusterState,
): ClusterEffect[] {
  const known = metered.get(state) ?? new Map<number, Meter>();
  metered.set(state, known);
  for (const effect of effects) if (effect.kind === 'meter') known.set(effect.shard, effect);
  if (event.kind !== 'done' || effects.some(({ kind }) => kind === 'accept')) return effects;
  const late = event.results.some(
    ({ lease, status }) => status === 'ok' && !state.leases.has(lease),
  );
  const [running] = state.executions.keys();
  const paid = [...known.values()].find(({ execution }) => execution === running);
  return late && paid !== undefined && state.counters.backupsGranted > 0
    ? [...effects, paid]
    : effects;
}

const SCHEDULER: readonly Canary[] = [
  { name: 'a drained worker is never taken back', event: deaf('resume') },
  { name: 'a ban is never lifted', event: deaf('unban') },
  { name: 'time never passes for the scheduler', event: deaf('tick') },
  {
    name: 'results of any bit class are taken',
    event: (event) => (event.kind === 'joined' ? { ...event, bitClass: 'one' } : event),
  },
  {
    name: 'a stale result is taken',
    effects: (effects, event, state) => {
      if (event.kind !== 'done' || effects.some((effect) => effect.kind === 'accept'))
        return effects;
      const execution = state.executions.values().next().value;
      const open = execution?.units.find((unit) => unit.status === 'leased');
      if (execution === undefined || open === undefined || event.results.length === 0)
        return effects;
      const { cause } = effects[0] ?? { cause: 0 };
      const forged = {
        kind: 'accept',
        worker: event.worker,
        execution: execution.id,
        shard: open.shard,
        count: 1,
        index: 0,
        leases: [],
        cause,
      } as const;
      return [...effects, forged];
    },
  },
  { name: 'a unit is paid twice', effects: twice('meter') },
  { name: 'the loser against a backup is paid too', effects: payLosers },
  { name: 'a unit is summed twice', effects: twice('accept') },
  { name: 'a payment is forgotten', effects: without('meter') },
  {
    name: 'what a worker asks for is never sent',
    effects: (effects, event) => (event.kind === 'need' ? without('provide')(effects) : effects),
  },
  {
    name: 'a part of a RUN gets lost on the way',
    effects: (effects) =>
      effects.flatMap((effect): ClusterEffect[] =>
        effect.kind === 'run' && effect.groups.length > 1
          ? [{ ...effect, groups: effect.groups.slice(1) }]
          : [effect],
      ),
  },
  {
    name: 'shards change places',
    effects: (effects, _event, state) =>
      effects.map((effect) => {
        if (effect.kind !== 'accept') return effect;
        const count = state.executions.get(effect.execution)?.units.length ?? 1;
        return effect.count > 1 ? effect : { ...effect, shard: count - 1 - effect.shard };
      }),
  },
  {
    name: 'a quarantine never ends',
    effects: (effects, _event, state) => {
      for (const standing of state.standings.values()) {
        if (standing.status === 'quarantined') standing.untilMs = Number.MAX_SAFE_INTEGER;
      }
      return effects;
    },
  },
  { name: 'results of any size are taken', flaw: 'gullible' },
];

const JOURNAL: readonly Canary[] = [
  {
    name: 'the watermark is one request too far',
    journal: (effects) =>
      effects.map((effect) => {
        if (effect.kind !== 'durable') return effect;
        const { session, request } = effect.point;
        return { ...effect, point: { session, request: request + 1 } };
      }),
  },
  {
    name: 'the rows are not in the transaction',
    journal: (effects) =>
      effects.map((effect) =>
        effect.kind === 'write' && effect.image !== null ? { ...effect, rows: [] } : effect,
      ),
  },
  {
    name: 'an image is written over the one in use',
    journal: (effects, state) =>
      effects.map((effect) => {
        if (effect.kind !== 'image' || state.current === null || state.pending === null)
          return effect;
        const { slot } = state.current;
        state.pending = { ...state.pending, slot };
        return { ...effect, slot };
      }),
  },
  {
    name: 'answers count as read before they are',
    journalEvent: (event) => {
      if (event.kind !== 'acked') return event;
      const { session, request } = event.point;
      return { ...event, point: { session, request: request + 2 } };
    },
  },
  {
    name: 'an image is taken in the middle of a step',
    journalEvent: (event) =>
      event.kind === 'started' && event.isEffect ? { ...event, isEffect: false } : event,
  },
  { name: 'a restart does not know what was paid', book: () => [] },
  { name: 'lease ids begin again with every life of the engine', flaw: 'sameLeases' },
  { name: 'versions of a lost life are taken for those of this one', flaw: 'sameWire' },
  { name: 'a new kernel is let in too early', flaw: 'hastyAttach' },
  { name: 'Stop reaches what was answered before a crash', flaw: 'blindStop' },
  { name: 'a repeated request fails like a new one', flaw: 'fragileRepeat' },
  { name: 'a restart forgets the bit class of the run', flaw: 'noPin' },
  { name: 'the bookmark is not of its version', flaw: 'lateBookmark' },
  { name: 'a restarted engine is not asked again for everything', flaw: 'shortReplay' },
  { name: 'an image is trusted that did not reach the disk', flaw: 'anyBoot' },
];

const AUDITS: readonly Canary[] = [
  { name: 'an audit never runs', flaw: 'noAudit' },
  { name: 'the watermark passes what no audit vouches for', flaw: 'noHold' },
  { name: 'a cheat is paid', flaw: 'paidCheat' },
  { name: 'who is honest is banned', flaw: 'harshAudit' },
];

export const CANARIES: readonly Canary[] = [...SCHEDULER, ...JOURNAL, ...AUDITS];
