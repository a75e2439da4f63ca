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

/**
 * Tries the devices and the first of the processor's backends at once, because somebody waits; the others only when there is
 * none of these.
 */
export async function chooseBackend(threads: number): Promise<BackendName> {
  const options = { threads, isMeasured: false };
  const isDevice = (name: BackendName): boolean => BACKEND_TABLE[name].isAccelerator;
  const [first = LAST_RESORT, ...others] = PREFERRED.filter((name) => !isDevice(name));
  const tried = [...PREFERRED.filter(isDevice), first];
  const picked = pick(await Promise.all(tried.map((name) => probe(name, options))));
  if (picked !== LAST_RESORT) return picked;
  for (const name of others) {
    const { isAvailable } = await probe(name, options);
    if (isAvailable) return name;
  }
  return LAST_RESORT;
}
