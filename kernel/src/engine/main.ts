/**
 * @file Entry of the engine process. Reading its modules takes as long as the journal's thread takes to get ready, and after a crash
 * somebody waits for both: the thread begins first.
 */
import { Worker } from 'node:worker_threads';
import { tuneGarbageCollection } from './gcFlags.js';

tuneGarbageCollection();
const journalThread = new Worker(new URL('./journalThread.js', import.meta.url));
const { runEngine } = await import('./engineMain.js');
await runEngine(journalThread);
