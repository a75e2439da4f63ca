/** @file `ravenlab worker doctor`: every backend tried out, one after another so that none is measured beside another. */
import { arch, platform } from 'node:os';
import { PREFERRED } from '../compute/backendTable.js';
import { deviceModel } from '../machineInfo.js';
import { pick } from './choose.js';
import type { Probe } from './probe.js';
import { probe } from './probeProcess.js';
import { doctorLines } from './report.js';

/** Where the report goes. */
export interface DoctorOutput {
  /** Takes one line. */
  readonly say: (line: string) => void;
  /** Takes what is being tried, for somebody who waits; empty when nothing is. */
  readonly note: (text: string) => void;
}

/** Prints the report: it takes some seconds, as every backend is measured. */
export async function runDoctor(threads: number, { say, note }: DoctorOutput): Promise<void> {
  const probes: Probe[] = [];
  for (const [index, name] of PREFERRED.entries()) {
    note(`trying ${name} (${String(index + 1)} of ${String(PREFERRED.length)}) …`);
    probes.push(await probe(name, { threads, isMeasured: true }));
  }
  note('');
  const machine = `${deviceModel()}, ${platform()} ${arch()}, Node ${process.versions.node}`;
  for (const line of doctorLines({ probes, picked: pick(probes), threads, machine })) say(line);
}
