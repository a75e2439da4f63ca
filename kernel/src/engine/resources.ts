/** @file Everything immutable that a worker may be sent, under one number each: programs, states at a revision, row blocks. */
import type { BlockRef, ProgramHash, StateRef } from '@ravenlab/protocol';
import type { Resource, ResourceId } from '../core/cluster/state.js';

export type ResourceBody =
  | { readonly kind: 'program'; readonly hash: ProgramHash; readonly bytes: Uint8Array }
  | {
      readonly kind: 'state';
      readonly ref: StateRef;
      /** Must stay as they are until `pin`'s release is called. */
      readonly bytes: () => Uint8Array;
      /** Keeps the bytes alive while a socket may still read them; returns the release. */
      readonly pin: () => () => void;
      /** Its bytes are being written: it can be named, not sent. */
      readonly isPromised: () => boolean;
    }
  | { readonly kind: 'block'; readonly ref: BlockRef; readonly chunks: readonly Uint8Array[] };

interface Entry {
  readonly resource: Resource;
  readonly body: ResourceBody;
}

export class Resources {
  private readonly entries = new Map<ResourceId, Entry>();
  private readonly removed = new Map<ResourceId, ResourceBody>();
  private nextId = 1;

  add(body: ResourceBody, sizeBytes: number): Resource {
    const resource: Resource = { id: this.nextId++ as ResourceId, sizeBytes };
    this.entries.set(resource.id, { resource, body });
    return resource;
  }

  /** Undefined when it is unknown or removed: its bytes must not be sent any more. */
  get(id: ResourceId): ResourceBody | undefined {
    return this.entries.get(id)?.body;
  }

  /** Its name on the wire, also between its removal and its `sweep`: workers are still to be told. */
  nameOf(id: ResourceId): ResourceBody | undefined {
    return this.entries.get(id)?.body ?? this.removed.get(id);
  }

  remove(id: ResourceId): void {
    const entry = this.entries.get(id);
    if (entry === undefined) return;
    this.entries.delete(id);
    this.removed.set(id, entry.body);
  }

  /** Forgets the names of removed resources; every worker that held them has been told. */
  sweep(ids: readonly ResourceId[]): void {
    for (const id of ids) this.removed.delete(id);
  }

  get count(): number {
    return this.entries.size;
  }
}
