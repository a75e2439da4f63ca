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
  return ownMissingBytes(member, distinct([own, ...common]));
}

const NO_RESOURCES: readonly Resource[] = [];

/** What these units of one program need beside what all units of it do; each once. */
export function ownResources(execution: Execution, units: readonly Unit[]): readonly Resource[] {
  let hasOwn = false;
  for (const { spec } of units) if (spec.resources.length > 0) hasOwn = true;
  const [first] = units;
  if (!hasOwn || first === undefined) return NO_RESOURCES;
  const { common } = execution.spec;
  const program = programOf(execution, first.spec);
  const isOwn = (resource: Resource): boolean =>
    resource.id !== program.id && !common.some(({ id }) => id === resource.id);
  return distinct(units.flatMap(({ spec }) => spec.resources)).filter(isOwn);
}

function distinct(resources: readonly Resource[]): readonly Resource[] {
  return [...new Map(resources.map((resource) => [resource.id, resource])).values()];
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
  const pinned = pinnedBy(member);
  for (const { spec } of units) {
    for (const resource of needsOf(execution, spec)) pinned.add(resource.id);
  }
  const evicted: ResourceId[] = [];
  for (const [id, sizeBytes] of member.held) {
    if (excess <= 0) break;
    if (pinned.has(id)) continue;
    evicted.push(id);
    excess -= sizeBytes;
  }
  return excess <= 0 ? evicted : null;
}

/** All that a unit reads. */
function needsOf(execution: Execution, unit: UnitSpec): Resource[] {
  return [programOf(execution, unit), ...execution.spec.common, ...unit.resources];
}

/** What the units in flight on `member` use. */
function pinnedBy(member: Member): Set<ResourceId> {
  const pinned = new Set<ResourceId>();
  for (const { execution, unit } of member.leases.values()) {
    for (const resource of needsOf(execution, unit.spec)) pinned.add(resource.id);
  }
  return pinned;
}
