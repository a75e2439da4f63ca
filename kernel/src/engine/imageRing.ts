/**
 * @file The files of the image ring: each is written in place, so that its pages stay in the page cache and cost the disk
 * little. Which of them counts is the journal's record to say.
 */
import {
  closeSync,
  constants,
  fdatasyncSync,
  ftruncateSync,
  openSync,
  readSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import type { ImagePart, NamedPart } from './journalMessages.js';

/** Bytes before the first part: who wrote the file. A page, so that parts stay aligned. */
export const IMAGE_HEAD_BYTES = 4_096;
/** One call never gets more: Linux writes at most 2 GiB less a page at once. */
const CALL_BYTES = 1 << 30;

interface Slot {
  readonly fd: number;
  /** Where the parts of the last image lie, and their sizes: names count for one layout only. */
  layout: string;
  /** Names of the parts that are in the file, by offset. */
  readonly names: Map<number, string>;
}

export class ImageRing {
  private readonly folder: string;
  private readonly slots = new Map<number, Slot>();

  constructor(folder: string) {
    this.folder = folder;
  }

  /**
   * Writes an image; `view` gives bytes of shared memory, `copies` those that were copied in time.
   * @throws the file system's error; the slot is void then, the others are untouched.
   */
  write(
    image: {
      readonly slot: number;
      readonly nonce: string;
      readonly sizeBytes: number;
      readonly isSynced: boolean;
      readonly stable: readonly NamedPart[];
    },
    view: (part: ImagePart) => Uint8Array,
    copies: readonly { readonly offset: number; readonly bytes: Uint8Array }[],
  ): void {
    const slot = this.open(image.slot);
    const head = Buffer.alloc(IMAGE_HEAD_BYTES);
    // First void, so that a part that is half written never passes for an image.
    writeAll(slot.fd, head, 0);
    const layout = layoutOf(image.stable, copies);
    if (slot.layout !== layout) {
      slot.names.clear();
      slot.layout = layout;
      ftruncateSync(slot.fd, image.sizeBytes);
    }
    for (const { offset, bytes } of copies) writeAll(slot.fd, bytes, offset);
    for (const part of image.stable) {
      if (slot.names.get(part.offset) === part.name) continue;
      slot.names.delete(part.offset);
      writeAll(slot.fd, view(part), part.offset);
      slot.names.set(part.offset, part.name);
    }
    head.write(image.nonce, 'latin1');
    writeAll(slot.fd, head, 0);
    if (image.isSynced) fdatasyncSync(slot.fd);
  }

  /** Reads parts of an image back. @throws Error when the slot does not hold that image. */
  read(
    slot: number,
    nonce: string,
    parts: readonly ImagePart[],
    view: (part: ImagePart) => Uint8Array,
  ): void {
    const { fd } = this.open(slot);
    const head = new Uint8Array(IMAGE_HEAD_BYTES);
    readAll(fd, head, 0);
    const found = Buffer.from(head).subarray(0, nonce.length).toString('latin1');
    if (found !== nonce) {
      throw new Error(
        `image ${String(slot)} is not the one that the journal names (found '${found}', expected '${nonce}')`,
      );
    }
    for (const part of parts) readAll(fd, view(part), part.offset);
  }

  close(): void {
    for (const { fd } of this.slots.values()) closeSync(fd);
    this.slots.clear();
  }

  private open(index: number): Slot {
    let slot = this.slots.get(index);
    if (slot === undefined) {
      const file = join(this.folder, imageFile(index));
      const fd = openSync(file, constants.O_RDWR | constants.O_CREAT, 0o600);
      slot = { fd, layout: '', names: new Map() };
      this.slots.set(index, slot);
    }
    return slot;
  }
}

export function imageFile(slot: number): string {
  return `image-${String(slot)}.bin`;
}

function layoutOf(
  stable: readonly ImagePart[],
  copies: readonly { readonly offset: number; readonly bytes: Uint8Array }[],
): string {
  const parts = stable.map(({ offset, sizeBytes }) => `${String(offset)}+${String(sizeBytes)}`);
  const copied = copies.map(({ offset, bytes }) => `${String(offset)}+${String(bytes.byteLength)}`);
  return [...parts, ...copied].join();
}

function writeAll(fd: number, bytes: Uint8Array, offset: number): void {
  for (let at = 0; at < bytes.byteLength;) {
    at += writeSync(fd, bytes, at, Math.min(CALL_BYTES, bytes.byteLength - at), offset + at);
  }
}

function readAll(fd: number, bytes: Uint8Array, offset: number): void {
  for (let at = 0; at < bytes.byteLength;) {
    const count = readSync(fd, bytes, at, Math.min(CALL_BYTES, bytes.byteLength - at), offset + at);
    if (count === 0) throw new Error(`the image ends at byte ${String(offset + at)}`);
    at += count;
  }
}
