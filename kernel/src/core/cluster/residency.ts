/** @file Who holds which resource: what a grant makes a worker hold, what is evicted for it, what a worker lost. */
import type { Execution, Member, Resource, ResourceId, Unit, UnitSpec } from './state.js';

/** What a member lacks for one unit, and whether it fits. */
export interface Fetch {
  readonly missing: readonly Resource[];
  readonly missingBytes: number;
}

const NONE: readonly ResourceId[] = [];
const NOTHING: Fetch = { missing: [], missingBytes: 0 };

/** Resources of these units of one program that `member` does not hold. */
export function missingFor(member: Member, execution: Execution, units: readonly Unit[]): Fetch {
  if (holdsAll(member, execution, units)) return NOTHING;
  const missing = new Map<ResourceId, Resource>();
  let missingBytes = 0;
  const see = (resource: Resource) => {
    if (member.held.has(resource.id) || missing.has(resource.id)) return;
    missing.set(resource.id, resource);
    missingBytes += resource.sizeBytes;
  };
  for (const { spec } of units) see(programOf(execution, spec));
  if (!member.ready.has(execution.id)) execution.spec.common.forEach(see);
  for (const { spec } of units) spec.resources.forEach(see);
  return missing.size === 0 ? NOTHING : { missing: [...missing.values()], missingBytes };
}

/** Bytes that every unit of one program of the execution needs and `member` lacks. */
export function commonMissingBytes(member: Member, execution: Execution, program: number): number {
  const { programs, common } = execution.spec;
  const own = programs[program]?.resource;
  const isReady = member.ready.has(execution.id);
  if (own === undefined) return 0;
  if (isReady) return member.held.has(own.id) ? 0 : own.sizeBytes;
  let bytes = member.held.has(own.id) ? 0 : own.sizeBytes;
  for (let at = 0; at < common.length; at++) {
    const resource = common[at];
    if (resource === undefined || resource.id === own.id || member.held.has(resource.id)) continue;
    if (!isAmong(common, resource, at)) bytes += resource.sizeBytes;
  }
  return bytes;
}

const NO_RESOURCES: readonly Resource[] = [];

/** What these units of one program need beside what all units of it do; each once. */
export function ownResources(execution: Execution, units: readonly Unit[]): readonly Resource[] {
  let own: Resource[] | null = null;
  for (const { spec } of units) {
    for (const resource of spec.resources) {
      if (resource.id === programOf(execution, spec).id) continue;
      if (isAmong(execution.spec.common, resource)) continue;
      if (own === null) own = [resource];
      else if (!isAmong(own, resource)) own.push(resource);
    }
  }
  return own ?? NO_RESOURCES;
}

/** Lists of what units need are short. */
function isAmong(
  resources: readonly Resource[],
  { id }: Resource,
  first = resources.length,
): boolean {
  for (let at = 0; at < first; at++) if (resources[at]?.id === id) return true;
  return false;
}

/** Bytes of these that `member` lacks; each of them is named once. */
export function ownMissingBytes(member: Member, resources: readonly Resource[]): number {
  let bytes = 0;
  for (const { id, sizeBytes } of resources) if (!member.held.has(id)) bytes += sizeBytes;
  return bytes;
}

/** As it is for nearly all units of an execution. */
function holdsAll(member: Member, execution: Execution, units: readonly Unit[]): boolean {
  if (!member.ready.has(execution.id)) return false;
  for (const { spec } of units) {
    if (!member.held.has(programOf(execution, spec).id)) return false;
    for (const resource of spec.resources) if (!member.held.has(resource.id)) return false;
  }
  return true;
}

export function programOf(execution: Execution, unit: UnitSpec): Resource {
  const program = execution.spec.programs[unit.program];
  if (program === undefined) throw new RangeError(`no program ${String(unit.program)}`);
  return program.resource;
}

/** Marks as held and as most recently used. */
export function hold(member: Member, resource: Resource): void {
  if (member.newest === resource.id) return;
  member.newest = resource.id;
  if (member.held.delete(resource.id)) member.heldBytes -= resource.sizeBytes;
  member.held.set(resource.id, resource.sizeBytes);
  member.heldBytes += resource.sizeBytes;
}

/** Forgets that `member` holds the resource; true if it did. */
export function release(member: Member, id: ResourceId): boolean {
  const sizeBytes = member.held.get(id);
  if (sizeBytes === undefined) return false;
  member.held.delete(id);
  if (member.newest === id) member.newest = null;
  member.heldBytes -= sizeBytes;
  return true;
}

/**
 * Chooses what `member` forgets, least recently used first, so that `needBytes` more fit for these units; null when they
 * cannot: the units that it has still need what it holds.
 */
export function evictionsFor(
  member: Member,
  needBytes: number,
  execution: Execution,
  units: readonly Unit[],
): readonly ResourceId[] | null {
  let excess = member.heldBytes + needBytes - member.heldLimitBytes;
  if (excess <= 0) return NONE;
  const evicted: ResourceId[] = [];
  for (const [id, sizeBytes] of member.held) {
    if (excess <= 0) break;
    if (isReadBy(execution, units, id) || isPinned(member, id)) continue;
    evicted.push(id);
    excess -= sizeBytes;
  }
  return excess <= 0 ? evicted : null;
}

function isReadBy(execution: Execution, units: readonly Unit[], id: ResourceId): boolean {
  for (const { spec } of units) if (reads(execution, spec, id)) return true;
  return false;
}

/** Whether a unit in flight on `member` reads it: asked of what was used longest ago first, so it is seldom asked twice. */
function isPinned(member: Member, id: ResourceId): boolean {
  for (const { execution, unit } of member.leases.values()) {
    if (reads(execution, unit.spec, id)) return true;
  }
  return false;
}

function reads(execution: Execution, unit: UnitSpec, id: ResourceId): boolean {
  if (programOf(execution, unit).id === id) return true;
  for (const resource of unit.resources) if (resource.id === id) return true;
  for (const resource of execution.spec.common) if (resource.id === id) return true;
  return false;
}
