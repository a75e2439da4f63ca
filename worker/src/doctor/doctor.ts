/** @file `ravenlab worker doctor`: every backend tried out, one after another so that none is measured beside another. */
import { arch, platform } from 'node:os';
import { PREFERRED } from '../compute/backendTable.js';
import { deviceModel } from '../machineInfo.js';
import { pick } from './choose.js';
import type { Probe } from './probe.js';
import { probe } from './probeProcess.js';
import { doctorLines } from './report.js';

/** Prints the report. @param say takes one line */
export async function runDoctor(threads: number, say: (line: string) => void): Promise<void> {
  const probes: Probe[] = [];
  for (const name of PREFERRED) probes.push(await probe(name, { threads, isMeasured: true }));
  const machine = `${deviceModel()}, ${platform()} ${arch()}, Node ${process.versions.node}`;
  for (const line of doctorLines({ probes, picked: pick(probes), threads, machine })) say(line);
}
