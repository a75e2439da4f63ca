/** @file What happened in a schedule: counted always, written down on request. */
import type { ClusterEffect, ClusterEvent } from '../../kernel/src/core/cluster/events.js';

export class SimTrace {
  readonly lines: string[] = [];
  readonly isOn: boolean;
  /** Events that the scheduler and the journal have had. */
  events = 0;

  constructor(isOn: boolean) {
    this.isOn = isOn;
  }

  note(nowMs: number, event: ClusterEvent | string, effects: readonly ClusterEffect[] = []): void {
    if (!this.isOn) return;
    const text = JSON.stringify([nowMs, event, effects], (_key, value: unknown) =>
      typeof value === 'bigint' ? String(value) : value instanceof Set ? [...value] : value,
    );
    this.lines.push(text);
  }
}
