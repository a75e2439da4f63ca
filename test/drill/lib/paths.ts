/** @file Where the built programs and the drill's own are. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const fromRoot = (path: string): string =>
  fileURLToPath(new URL(`../../../${path}`, import.meta.url));

export const ENGINE_ENTRY = fromRoot('kernel/dist/engine/main.js');
export const WORKER_CLI = fromRoot('worker/dist/cli.js');
export const CHAIN_CLI = fromRoot('kernel/dist/chainCli/main.js');
export const JOURNAL_THREAD = fromRoot('kernel/dist/engine/journalThread.js');
export const VOUCHER_CHILD = fromRoot('test/drill/voucherChild.ts');
/** The worker, with its results bent on their way out of the compute thread. */
export const CHEATER = fromRoot('test/drill/cheater.mjs');
export const TRAINER = fromRoot('test/drill/trainer.ts');

/** @throws Error naming what is not built. */
export function checkBuilt(): void {
  for (const file of [ENGINE_ENTRY, WORKER_CLI]) {
    if (!existsSync(file)) throw new Error(`${file} is missing: run npm run build`);
  }
}
