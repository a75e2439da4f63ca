/** @file Which requests of a kernel change what later ones see: these are journaled, and asked again after a crash. */
import type { KernelRequest } from './kernelWire.js';

type Kind = KernelRequest['kind'];
const EFFECTS: Readonly<Record<Exclude<Kind, 'execute'>, boolean>> = {
  attach: true,
  openRun: true,
  mark: true,
  adopt: true,
  defineProgram: true,
  createState: true,
  readStates: false,
  dropStates: true,
  createData: true,
  dropData: true,
  readSlots: false,
  writeSlots: true,
  // They change the cluster, which is not the run's.
  command: false,
};

export function hasEffect(request: KernelRequest): boolean {
  return request.kind === 'execute' ? request.plan.updates.length > 0 : EFFECTS[request.kind];
}

/** Bytes that keeping a request costs, near enough for a bound. */
export function bytesOfRequest(request: KernelRequest): number {
  switch (request.kind) {
    case 'defineProgram':
      return request.bytes.byteLength;
    case 'createState':
      return request.data.byteLength;
    case 'createData':
      return request.blocks.flat().reduce((sum, frame) => sum + frame.byteLength, 0);
    case 'writeSlots':
      return request.slots.reduce((sum, slot) => sum + slot.byteLength, 0);
    case 'openRun':
      return request.manifest.length;
    case 'execute':
      return request.plan.inputs.reduce((sum, input) => {
        if (input.kind === 'inline') return sum + input.data.byteLength;
        return input.kind === 'rows' ? sum + input.indices.byteLength : sum;
      }, 0);
    default:
      return 0;
  }
}
