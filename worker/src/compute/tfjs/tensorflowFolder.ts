/** @file Where the link to TensorFlow is. Loads nothing of it. */
import { fileURLToPath } from 'node:url';

/** Seen from the compiled file in this checkout; RAVENLAB_TENSORFLOW names another place. */
const FOLDER = fileURLToPath(new URL('../../../../.venv/tfjs-node', import.meta.url));

/** What `npm run link:tensorflow` has made, when it has. */
export function tensorflowFolder(): string {
  return process.env['RAVENLAB_TENSORFLOW'] ?? FOLDER;
}
