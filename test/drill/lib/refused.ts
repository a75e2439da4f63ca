/** @file Units of caught cheats, from an engine's ledger on its disk. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'libsql';

/** How many units of each worker were refused, or stayed in the ledger. */
export function unitsIn(table: 'refused' | 'unit', home: string): ReadonlyMap<string, number> {
  const folder = join(home, 'engines');
  const found = new Map<string, number>();
  for (const id of readdirSync(folder)) {
    const file = join(folder, id, 'journal.sqlite');
    if (!existsSync(file)) continue;
    const db = new Database(file, { readonly: true });
    const rows = db
      .prepare(`SELECT worker, count(*) AS units FROM ${table} GROUP BY worker`)
      .all() as { readonly worker: string; readonly units: number }[];
    db.close();
    for (const { worker, units } of rows) found.set(worker, units);
  }
  return found;
}
