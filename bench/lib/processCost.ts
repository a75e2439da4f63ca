/** @file What work costs the machine: CPU time and sleeps of every thread of some processes, as Linux counts them. */
import { existsSync, readFileSync, readdirSync } from 'node:fs';

export interface Cost {
  /** CPU time of all threads. */
  readonly cpuUs: number;
  /** Times that a thread went to sleep of its own will; each is woken again, which a virtual machine makes expensive. */
  readonly sleeps: number;
}

/** Null where the system does not count: only Linux has /proc. */
function costOf(pid: number): Cost | null {
  const threads = `/proc/${String(pid)}/task`;
  if (!existsSync(threads)) return null;
  let cpuNs = 0;
  let sleeps = 0;
  for (const thread of readdirSync(threads)) {
    try {
      cpuNs += Number(readFileSync(`${threads}/${thread}/schedstat`, 'utf8').split(' ')[0]);
      const status = readFileSync(`${threads}/${thread}/status`, 'utf8');
      sleeps += Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)?.[1] ?? 0);
    } catch {
      // The thread ended meanwhile.
    }
  }
  return { cpuUs: cpuNs / 1000, sleeps };
}

/** Cost of each process for one call of `work`, called `calls` times in a row; null where the system does not count. */
export async function costPerCall<Name extends string>(
  pids: Readonly<Record<Name, number>>,
  work: () => Promise<unknown>,
  calls: number,
): Promise<Readonly<Record<Name, Cost>> | null> {
  const names = Object.keys(pids) as Name[];
  const before = names.map((name) => costOf(pids[name]));
  for (let call = 0; call < calls; call++) await work();
  const costs: [Name, Cost][] = [];
  for (const [i, name] of names.entries()) {
    const from = before[i] ?? null;
    const to = costOf(pids[name]);
    if (from === null || to === null) return null;
    const cpuUs = (to.cpuUs - from.cpuUs) / calls;
    costs.push([name, { cpuUs, sleeps: (to.sleeps - from.sleeps) / calls }]);
  }
  return Object.fromEntries(costs) as Record<Name, Cost>;
}
