/** @file Workers of given speeds around the real scheduler, in virtual time: how long a step takes, undisturbed but for speed. */
import type { ExecutionId, LeaseId } from '@ravenlab/protocol';
import type { ClusterEffect } from '../../../../kernel/src/core/cluster/events.js';
import { deadline } from '../../../../kernel/src/core/cluster/machine.js';
import { Scheduler, resource, worker } from './lib.js';

interface Machine {
  readonly name: string;
  /** Time of one unit; ms. May change between steps. */
  unitMs: number;
  /** Groups that it has, oldest first. */
  queue: LeaseId[][];
  /** When the first of them is done; infinite for an idle one. */
  doneAtMs: number;
}

/** From a grant to an idle worker until it begins; answers overlap the next unit. */
const WIRE_MS = 2;

export class Crowd {
  readonly scheduler = new Scheduler();
  private readonly machines: Machine[];
  private nextExecution = 1;

  /** @param unitMs of each worker. */
  constructor(unitMs: readonly number[]) {
    this.machines = unitMs.map((each, index) => {
      const name = `w${String(index)}`;
      this.scheduler.join(name);
      return { name, unitMs: each, queue: [], doneAtMs: Infinity };
    });
  }

  slowDown(index: number, unitMs: number): void {
    const machine = this.machines[index];
    if (machine !== undefined) machine.unitMs = unitMs;
  }

  /** Virtual time of one training step; ms. */
  step(units: number, isMergeable: boolean): number {
    const { scheduler } = this;
    const id = this.nextExecution++;
    const startMs = scheduler.now;
    this.carryOut(scheduler.submit({ id, units, isMergeable, program: resource(1) }));
    while (scheduler.state.executions.get(id as ExecutionId)?.status === 'running') this.advance();
    scheduler.feed({ kind: 'reduced', execution: id as ExecutionId, failure: null });
    return scheduler.now - startMs;
  }

  /** To the next answer or deadline, whichever is first. */
  private advance(): void {
    const { scheduler } = this;
    const next = this.machines.reduce((a, b) => (b.doneAtMs < a.doneAtMs ? b : a));
    const tickMs = deadline(scheduler.state) ?? Infinity;
    if (tickMs < next.doneAtMs) {
      scheduler.now = Math.max(scheduler.now, tickMs);
      const effects = scheduler.feed({ kind: 'tick' });
      this.carryOut(effects);
      for (const effect of effects) {
        if (effect.kind !== 'ping') continue;
        this.carryOut(scheduler.feed({ kind: 'heard', worker: effect.worker, latencyUs: 100 }));
      }
      return;
    }
    scheduler.now = next.doneAtMs;
    const leases = next.queue.shift() ?? [];
    this.begin(next, 0);
    const computeUs = next.unitMs * leases.length * 1000;
    this.carryOut(scheduler.done(next.name, leases.slice(0, 1), { computeUs }));
  }

  private carryOut(effects: readonly ClusterEffect[]): void {
    for (const effect of effects) {
      const machine = this.machines.find(
        ({ name }) => 'worker' in effect && worker(name) === effect.worker,
      );
      if (machine === undefined) continue;
      if (effect.kind === 'run') {
        const wasIdle = machine.queue.length === 0;
        machine.queue.push(...effect.groups.map((group) => group.map(({ lease }) => lease)));
        if (wasIdle) this.begin(machine, WIRE_MS);
      } else if (effect.kind === 'revoke') {
        const revoked = new Set(effect.leases);
        const [first] = machine.queue;
        machine.queue = machine.queue.filter((group) => !group.some((each) => revoked.has(each)));
        if (machine.queue[0] !== first) this.begin(machine, WIRE_MS);
      }
    }
  }

  private begin(machine: Machine, waitMs: number): void {
    const [group] = machine.queue;
    machine.doneAtMs =
      group === undefined ? Infinity : this.scheduler.now + waitMs + machine.unitMs * group.length;
  }
}
