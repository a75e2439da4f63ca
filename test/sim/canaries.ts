/** @file Planted bugs. The simulator must find every one of them, else its silence means nothing. */
import type { ClusterEffect, ClusterEvent } from '../../kernel/src/core/cluster/events.js';
import type { ClusterState } from '../../kernel/src/core/cluster/state.js';
import type { SimContext } from './context.js';

/** A bug at the edge of the scheduler: events that it does not get, effects that it should not have made. */
export interface Canary {
  readonly name: string;
  readonly event?: (event: ClusterEvent, context: SimContext) => ClusterEvent | null;
  readonly effects?: (
    effects: ClusterEffect[],
    event: ClusterEvent,
    state: ClusterState,
  ) => ClusterEffect[];
}

const without =
  (kind: ClusterEffect['kind']) =>
  (effects: ClusterEffect[]): ClusterEffect[] =>
    effects.filter((effect) => effect.kind !== kind);

const twice =
  (kind: ClusterEffect['kind']) =>
  (effects: ClusterEffect[]): ClusterEffect[] =>
    effects.flatMap((effect) => (effect.kind === kind ? [effect, effect] : [effect]));

export const CANARIES: readonly Canary[] = [
  {
    name: 'a drained worker is never taken back',
    event: (event) => (event.kind === 'resume' ? null : event),
  },
  {
    name: 'a ban is never lifted',
    event: (event) => (event.kind === 'unban' ? null : event),
  },
  {
    name: 'results of any bit class are taken',
    event: (event) => (event.kind === 'joined' ? { ...event, bitClass: 'one' } : event),
  },
  {
    name: 'time never passes for the scheduler',
    event: (event) => (event.kind === 'tick' ? null : event),
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
        execution: execution.id,
        shard: open.shard,
        count: 1,
        index: 0,
        cause,
      } as const;
      return [...effects, forged];
    },
  },
  { name: 'a unit is paid twice', effects: twice('meter') },
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
];
