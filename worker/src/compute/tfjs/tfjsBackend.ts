/** @file The tfjs-cpu backend. */
import type { Backend, Executable } from '../backend.js';
export class TfjsBackend implements Backend {
  readonly name = 'tfjs-cpu';
  readonly deviceName = '';
  readonly version = '';
  compile(): Executable {
    throw new Error('not yet');
  }
  dispose(): void {
    return;
  }
}
