/** @file Which start of the machine this is: what is only in the page cache is trusted within one. */
import { readFileSync } from 'node:fs';
import { uptime } from 'node:os';

/** Time of the start, in units that two readings of one start agree on; s. */
const GRAIN_S = 60;

export function machineBootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  } catch {
    return `up-${String(Math.round((Date.now() / 1000 - uptime()) / GRAIN_S))}`;
  }
}
