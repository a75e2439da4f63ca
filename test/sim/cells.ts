/** @file Names of the cells of all tables, for the proof that they were visited. */

type Names = Map<string, Map<string, string>>;
const cellNames = new Map<string, Names>();

/** @returns `table.status.cause`, put together once: every schedule visits the same cells a hundred times. */
export function cellName(table: string, status: string, cause: string): string {
  const ofTable: Names = cellNames.get(table) ?? new Map<string, Map<string, string>>();
  cellNames.set(table, ofTable);
  const ofStatus = ofTable.get(status) ?? new Map<string, string>();
  ofTable.set(status, ofStatus);
  const name = ofStatus.get(cause) ?? `${table}.${status}.${cause}`;
  ofStatus.set(cause, name);
  return name;
}
