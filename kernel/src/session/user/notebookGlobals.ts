/** @file What cells find in their global scope: streams, prompts, the `jupyter` object, tslab's display. */

import type { DisplayBundle } from '../threadMessages.js';
import type { ModuleLoader } from './moduleLoader.js';
import { describeValue, toBundle } from './mimeBundle.js';
import type { OutputPort } from './outputPort.js';
import type { ThreadSession } from './threadSession.js';

/** Where a display goes. */
export interface JupyterDisplayOptions {
  /** Outputs with the same id are updated together. */
  readonly id?: string;
  /** Replace the output with this id instead of adding one. */
  readonly update?: boolean;
  readonly metadata?: Record<string, unknown>;
}

/** The global `jupyter` of a cell. */
export class JupyterApi {
  private readonly output: OutputPort;
  private readonly session: ThreadSession;

  constructor(output: OutputPort, session: ThreadSession) {
    this.output = output;
    this.session = session;
  }

  /** Shows any value as the last expression of a cell is shown. */
  display(value: unknown, options: JupyterDisplayOptions = {}): void {
    const bundle = describeValue(value);
    if (bundle instanceof Promise) void bundle.then((late) => this.emit(late, options));
    else this.emit(bundle, options);
  }

  /** Shows a bundle of MIME types, e.g. `{ 'text/html': '<b>hi</b>' }`; bytes become base64. */
  raw(data: Record<string, unknown>, options: JupyterDisplayOptions = {}): void {
    this.emit({ data: toBundle(data), metadata: options.metadata ?? {} }, options);
  }

  html(text: string, options?: JupyterDisplayOptions): void {
    this.raw({ 'text/html': text }, options);
  }

  markdown(text: string, options?: JupyterDisplayOptions): void {
    this.raw({ 'text/markdown': text }, options);
  }

  latex(text: string, options?: JupyterDisplayOptions): void {
    this.raw({ 'text/latex': text }, options);
  }

  svg(text: string, options?: JupyterDisplayOptions): void {
    this.raw({ 'image/svg+xml': text }, options);
  }

  png(bytes: Uint8Array, options?: JupyterDisplayOptions): void {
    this.raw({ 'image/png': bytes }, options);
  }

  jpeg(bytes: Uint8Array, options?: JupyterDisplayOptions): void {
    this.raw({ 'image/jpeg': bytes }, options);
  }

  json(value: unknown, options?: JupyterDisplayOptions): void {
    this.raw({ 'application/json': value }, options);
  }

  /** Clears the cell's output; with `wait`, when the next output comes. */
  clearOutput({ wait = false }: { readonly wait?: boolean } = {}): void {
    this.output.emit({ kind: 'clear', wait });
  }

  /** Writes to stdout, without adding a line end. */
  print(text: string): void {
    this.output.write('stdout', text);
  }

  /** Asks for a line of text; blocks the cell, not the kernel. */
  input(prompt = ''): string | null {
    return this.session.input(prompt, false);
  }

  /** Like `input`, without showing what is typed. */
  password(prompt = ''): string | null {
    return this.session.input(prompt, true);
  }

  private emit(bundle: DisplayBundle, options: JupyterDisplayOptions): void {
    this.output.emit({
      kind: 'display',
      bundle,
      displayId: options.id ?? null,
      isUpdate: options.update ?? false,
    });
  }
}

/** Routes everything that is written to the process's streams into the notebook. */
export function installStreams(output: OutputPort): void {
  for (const name of ['stdout', 'stderr'] as const) {
    const stream = process[name];
    const write = (chunk: unknown, encoding?: unknown, callback?: unknown): boolean => {
      const isBytes = chunk instanceof Uint8Array;
      output.write(name, isBytes ? Buffer.from(chunk).toString('utf8') : String(chunk));
      const done = typeof encoding === 'function' ? encoding : callback;
      if (typeof done === 'function') queueMicrotask(() => (done as () => void)());
      return true;
    };
    Object.defineProperty(stream, 'write', { value: write, configurable: true, writable: true });
  }
}

/** Defines the globals of cells. */
export function installGlobals(jupyter: JupyterApi, modules: ModuleLoader): void {
  const globals = {
    jupyter,
    require: modules.require,
    prompt: (text?: string) => jupyter.input(text),
    confirm: (text = '') => /^y(es)?$/i.test(jupyter.input(`${text} [y/N] `) ?? ''),
    alert: (text = '') => jupyter.print(`${text}\n`),
  };
  for (const [name, value] of Object.entries(globals)) {
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true });
  }
}

interface TslabDisplayData {
  readonly data: Record<string, unknown>;
  readonly metadata: Record<string, unknown>;
  readonly transient?: { readonly display_id?: string };
}

/**
 * Makes `import * as tslab from 'tslab'` work. tslab's public API sends displays through the module
 * `tslab/dist/jupyter`, which would load a second kernel with its sockets into this thread; a module of
 * ours with the same hook takes its place.
 */
export function installTslab(require: NodeJS.Require, output: OutputPort): void {
  let path: string;
  try {
    path = require.resolve('tslab/dist/jupyter.js');
  } catch {
    return; // tslab is optional: without it, importing it fails with Node's own message.
  }
  const lastWriteDisplayData = (display: TslabDisplayData, isUpdate?: boolean): void => {
    output.emit({
      kind: 'display',
      bundle: { data: toBundle(display.data), metadata: display.metadata },
      displayId: display.transient?.display_id ?? null,
      isUpdate: isUpdate ?? false,
    });
  };
  const module_ = { id: path, filename: path, loaded: true, children: [], paths: [], path: '' };
  require.cache[path] = {
    ...module_,
    exports: { lastWriteDisplayData },
    isPreloading: false,
    parent: null,
    require,
  };
}
