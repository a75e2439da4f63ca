/** @file Who is paid what by one simulated life of the engine: rows for its journal, each unit of a request once. */
import type { ClusterEffect } from '../../kernel/src/core/cluster/events.js';
import { SimViolation } from './context.js';
import type { SimAudits } from './simAudits.js';
import type { SimRow } from './simDisk.js';
import type { Active } from './simEngineParts.js';

/** Rows of audits that one life may make. */
const AUDIT_ROWS = 1_000;

export class SimPay {
  private readonly life: number;
  private auditRows = 0;
  private rows: SimRow[] = [];

  constructor(life: number) {
    this.life = life;
  }

  /** The rows since the last call, which reach the journal together; null when there is none. */
  take(): readonly SimRow[] | null {
    if (this.rows.length === 0) return null;
    const { rows } = this;
    this.rows = [];
    return rows;
  }

  meter(
    { entry, execution, shard }: Extract<ClusterEffect, { kind: 'meter' }>,
    active: Active | undefined,
    audits: SimAudits,
  ): void {
    const { worker, amount } = entry;
    const audit = audits.auditOf(execution);
    if (audit !== null) {
      // Numbers above those of an execution's own units, never given out twice.
      const key = AUDIT_ROWS + this.life * AUDIT_ROWS + this.auditRows++;
      const { session, request } = audit.answer.point;
      this.rows.push({ session, request, shard: key, worker, amount });
      return;
    }
    if (active === undefined) throw new SimViolation('a unit of no execution is paid');
    const { session, request } = active.point;
    if (active.paid.has(shard)) {
      const unit = `${String(session)}/${String(request)}/${String(shard)}`;
      throw new SimViolation(`unit ${unit} was paid before, and is paid again`);
    }
    active.paid.add(shard);
    this.rows.push({ session, request, shard, worker, amount });
  }
}
