/**
 * @file Entry of the journal thread: images and the database, off the I/O loop. It sees the engine's shared memory and reads
 * only blocks that it was given.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { removeSaved } from './engineRegistry.js';
import { ImageRing } from './imageRing.js';
import { JournalDatabase } from './journalDatabase.js';
import type {
  ImagePart,
  JournalRequest,
  JournalResponse,
  JournalThreadData,
} from './journalMessages.js';
import { unpackRows } from './ledgerBatch.js';

const { folder, bootId, memory } = workerData as JournalThreadData;
const ring = new ImageRing(folder);
let database: JournalDatabase | null = null;
/** Copies of volatile parts; kept, because fresh pages cost more than the copy. */
let scratch = new Uint8Array(0);

const view = ({ ptr, sizeBytes }: ImagePart): Uint8Array =>
  new Uint8Array(memory.buffer, ptr, sizeBytes);

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
  ring.write(request, view, copies);
}

type Answers = {
  readonly [K in JournalRequest['kind']]: (
    request: Extract<JournalRequest, { kind: K }>,
  ) => JournalResponse;
};

const opened = (): JournalDatabase => {
  if (database === null) throw new Error('the journal is not open');
  return database;
};

const ANSWERS: Answers = {
  open: ({ caught }) => {
    database = new JournalDatabase(folder, bootId);
    return { kind: 'opened', restored: database.open(caught) };
  },
  image: (request) => {
    writeImage(request);
    return { kind: 'imaged' };
  },
  load: ({ slot, nonce, parts }) => {
    ring.read(slot, nonce, parts, view);
    return { kind: 'loaded' };
  },
  write: ({ ledger, blobs, record, isSynced }) => {
    const { voided, pay } = ledger;
    opened().write({ rows: unpackRows(ledger), voided, pay }, blobs, record, isSynced);
    return { kind: 'written' };
  },
  remote: ({ text }) => {
    opened().writeRemote(text);
    return { kind: 'saved' };
  },
  log: ({ cursor, limit }) => ({ kind: 'log', page: opened().log(cursor, limit) }),
  forget: () => {
    opened().forget();
    ring.close();
    removeSaved(folder);
    return { kind: 'forgotten' };
  },
  close: () => {
    database?.close();
    ring.close();
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
