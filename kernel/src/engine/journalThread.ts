/**
 * @file Entry of the journal thread: images and the database, off the I/O loop. It sees the engine's shared memory and reads
 * only blocks that it was given.
 */
import { parentPort } from 'node:worker_threads';
import { removeSaved } from './engineRegistry.js';
import { ImageRing } from './imageRing.js';
import { JournalDatabase } from './journalDatabase.js';
import type { ImagePart, JournalRequest, JournalResponse, JournalSite } from './journalMessages.js';
import { unpackRows } from './ledgerBatch.js';

/** What there is once the engine has said where: the thread begins before that. */
interface Open {
  readonly site: JournalSite;
  readonly ring: ImageRing;
  readonly database: JournalDatabase;
}

let current: Open | null = null;
/** Copies of volatile parts; kept, because fresh pages cost more than the copy. */
let scratch = new Uint8Array(0);

const view = ({ ptr, sizeBytes }: ImagePart): Uint8Array =>
  new Uint8Array(opened().site.memory.buffer, ptr, sizeBytes);

function say(response: JournalResponse): void {
  parentPort?.postMessage(response);
}

function writeImage(request: Extract<JournalRequest, { kind: 'image' }>): void {
  const total = request.volatile.reduce((sum, part) => sum + part.sizeBytes, 0);
  if (scratch.byteLength < total) scratch = new Uint8Array(total);
  let at = 0;
  const copies = request.volatile.map((part) => {
    const bytes = scratch.subarray(at, at + part.sizeBytes);
    bytes.set(view(part));
    at += part.sizeBytes;
    return { offset: part.offset, bytes };
  });
  say({ kind: 'copied' });
  opened().ring.write(request, view, copies);
}

type Answers = {
  readonly [K in JournalRequest['kind']]: (
    request: Extract<JournalRequest, { kind: K }>,
  ) => JournalResponse;
};

function opened(): Open {
  if (current === null) throw new Error('the journal is not open');
  return current;
}

const ANSWERS: Answers = {
  open: ({ site, caught }) => {
    const database = new JournalDatabase(site.folder, site.bootId);
    current = { site, database, ring: new ImageRing(site.folder) };
    return { kind: 'opened', restored: database.open(caught) };
  },
  image: (request) => {
    writeImage(request);
    return { kind: 'imaged' };
  },
  load: ({ slot, nonce, parts }) => {
    opened().ring.read(slot, nonce, parts, view);
    return { kind: 'loaded' };
  },
  write: ({ ledger, blobs, record, isSynced }) => {
    const { voided, pay } = ledger;
    opened().database.write({ rows: unpackRows(ledger), voided, pay }, blobs, record, isSynced);
    return { kind: 'written' };
  },
  remote: ({ text }) => {
    opened().database.writeRemote(text);
    return { kind: 'saved' };
  },
  log: ({ cursor, limit }) => ({ kind: 'log', page: opened().database.log(cursor, limit) }),
  forget: () => {
    const { database, ring, site } = opened();
    database.forget();
    ring.close();
    removeSaved(site.folder);
    return { kind: 'forgotten' };
  },
  close: () => {
    current?.database.close();
    current?.ring.close();
    return { kind: 'closed' };
  },
};

parentPort?.on('message', (request: JournalRequest) => {
  try {
    const answer = ANSWERS[request.kind] as (request: JournalRequest) => JournalResponse;
    say(answer(request));
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    say({ kind: 'refused', request: request.kind, message });
  }
});
