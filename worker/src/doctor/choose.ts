/** @file Which backend `auto` picks. */
import type { BackendName } from '@ravenlab/protocol';
import { BACKEND_TABLE, PREFERRED } from '../compute/backendTable.js';
import type { Probe } from './probe.js';
import { probe } from './probeProcess.js';

/** Every machine that can run Node has it. */
const LAST_RESORT: BackendName = 'tfjs-cpu';

/** The first in the order of preference that is available and not a software stand-in. */
export function pick(probes: readonly Probe[]): BackendName {
  const isGood = (name: BackendName): boolean =>
    probes.some((found) => found.name === name && found.isAvailable && !found.isSoftware);
  return PREFERRED.find(isGood) ?? LAST_RESORT;
}

/** Looks for devices first, all at once; only when there is none, which of the processor's backends starts. */
export async function chooseBackend(threads: number): Promise<BackendName> {
  const options = { threads, isMeasured: false };
  const accelerators = PREFERRED.filter((name) => BACKEND_TABLE[name].isAccelerator);
  const devices = await Promise.all(accelerators.map((name) => probe(name, options)));
  const device = pick(devices);
  if (device !== LAST_RESORT) return device;
  for (const name of PREFERRED) {
    if (BACKEND_TABLE[name].isAccelerator) continue;
    const { isAvailable } = await probe(name, options);
    if (isAvailable) return name;
  }
  return LAST_RESORT;
}
