/** @file What strikes the machine of kernel and engine, and its user; what strikes workers is in simWorker.ts. */
import type { Fault } from './plan.js';
import type { SimHost } from './simHost.js';

const DRAIN_MS = [500, 25_000] as const;

export const OWN_FAULTS = [
  'engineCrash',
  'kernelCrash',
  'powerCut',
  'diskFull',
  'cancel',
  'drain',
  'userPause',
  'userBan',
] as const satisfies readonly Fault[];
export type OwnFault = (typeof OWN_FAULTS)[number];

export const STRIKES: Readonly<Record<OwnFault, (host: SimHost) => void>> = {
  engineCrash: (host) => {
    host.killEngine();
  },
  kernelCrash: (host) => {
    host.killKernel();
  },
  powerCut: (host) => {
    host.cutPower();
  },
  diskFull: (host) => {
    host.fillDisk();
  },
  cancel: (host) => {
    host.kernel?.stop();
  },
  drain: (host) => {
    host.engine?.user.drain(host.anyone(), host.context.work.pick(DRAIN_MS));
  },
  userPause: (host) => {
    host.engine?.user.pause(host.anyone());
  },
  userBan: (host) => {
    host.ban(host.anyone());
  },
};

/** What loses a step that was answered and is not in the journal yet. */
export const AT_COMMIT = [
  'engineCrash',
  'kernelCrash',
  'powerCut',
] as const satisfies readonly OwnFault[];
/** Before the answer is read, before the image is whole, before the rows of a full disk are. */
export const AT_COMMIT_MS = [3, 12, 150] as const;
