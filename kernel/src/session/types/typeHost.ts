/**
 * @file The main thread's side of the type thread. The compiler is loaded in the background after the
 * first cell; if it dies it is started again with the cells that ran.
 */

import { Worker } from 'node:worker_threads';
import { KERNEL_LIMITS } from '@ravenlab/protocol';
import type { LanguageTypeServiceOptions } from './languageTypeService.js';
import type { FromTypes, NumberedQuestion, TypeAnswer, TypeQuestion } from './typeMessages.js';
import type {
  Completions,
  Inspection,
  TypeDiagnostic,
  TypedCell,
  TypeService,
} from './typeService.js';

const THREAD_URL = new URL('./typeThread.js', import.meta.url);
/** The first cell runs before the compiler competes for the processor. */
const START_DELAY_MS = 30;
const MAX_STARTS = 4;

/** How a {@link TypeHost} is set up. */
export interface TypeHostOptions extends LanguageTypeServiceOptions {
  readonly heapMib: number;
  readonly onWarning: (context: string, detail: unknown) => void;
}

/** A type service in a thread of its own. */
export class TypeHost implements TypeService {
  private readonly options: TypeHostOptions;
  private worker: Worker | null = null;
  private startTimer: NodeJS.Timeout | null = null;
  private starts = 0;
  private hasLoaded = false;
  private isDisposed = false;
  private nextId = 1;
  private readonly waiting = new Map<number, (answer: TypeAnswer) => void>();
  /** Questions from before the thread was started. */
  private readonly backlog: NumberedQuestion[] = [];
  /** Cells that ran, for a thread that has to start again. */
  private cells: TypedCell[] = [];

  constructor(options: TypeHostOptions) {
    this.options = options;
  }

  get isReady(): boolean {
    return this.hasLoaded && this.waiting.size < KERNEL_LIMITS.typeQuestions;
  }

  async complete(code: string, offset: number): Promise<Completions | null> {
    this.start();
    return (await this.ask({ kind: 'complete', code, offset })) as Completions | null;
  }

  async inspect(code: string, offset: number): Promise<Inspection | null> {
    this.start();
    return (await this.ask({ kind: 'inspect', code, offset })) as Inspection | null;
  }

  async addCell(
    cell: TypedCell,
    { check }: { readonly check: boolean },
  ): Promise<readonly TypeDiagnostic[]> {
    this.cells.push(cell);
    if (this.cells.length > KERNEL_LIMITS.rememberedCells) this.cells.shift();
    this.startTimer ??= setTimeout(() => this.start(), START_DELAY_MS);
    const answer = await this.ask({ kind: 'addCell', cell, check });
    return (answer as readonly TypeDiagnostic[] | null) ?? [];
  }

  reset(): void {
    this.cells = [];
    void this.ask({ kind: 'reset' });
  }

  async dispose(): Promise<void> {
    this.isDisposed = true;
    if (this.startTimer) clearTimeout(this.startTimer);
    await this.worker?.terminate();
  }

  private ask(question: TypeQuestion): Promise<TypeAnswer> {
    if (this.isDisposed || this.waiting.size >= KERNEL_LIMITS.typeQuestions) {
      return Promise.resolve(null);
    }
    const id = this.nextId++;
    return new Promise((resolve) => {
      const timer = setTimeout(() => settle(null), KERNEL_LIMITS.typeAnswerMs);
      const settle = (answer: TypeAnswer): void => {
        clearTimeout(timer);
        this.waiting.delete(id);
        resolve(answer);
      };
      this.waiting.set(id, settle);
      if (this.worker) this.worker.postMessage({ id, question } satisfies NumberedQuestion);
      else this.backlog.push({ id, question });
    });
  }

  private start(): void {
    if (this.worker || this.isDisposed || this.starts >= MAX_STARTS) return;
    this.starts += 1;
    const { notebookDir, apiTypesPath, heapMib } = this.options;
    const worker = new Worker(THREAD_URL, {
      workerData: { notebookDir, apiTypesPath } satisfies LanguageTypeServiceOptions,
      resourceLimits: { maxOldGenerationSizeMb: heapMib },
      name: 'types',
    });
    this.worker = worker;
    worker.on('message', (message: FromTypes) => this.receive(message));
    worker.on('error', (error) => this.options.onWarning('the type thread failed', error));
    worker.on('exit', () => this.onExit());
    for (const question of this.backlog.splice(0)) worker.postMessage(question);
  }

  private receive(message: FromTypes): void {
    switch (message.kind) {
      case 'ready':
        this.hasLoaded = true;
        return;
      case 'answer':
        this.waiting.get(message.id)?.(message.answer);
        return;
      case 'failure':
        this.options.onWarning('the type checker failed', message.message);
        this.waiting.get(message.id)?.(null);
        return;
    }
  }

  private onExit(): void {
    this.worker = null;
    this.hasLoaded = false;
    for (const settle of [...this.waiting.values()]) settle(null);
    if (this.isDisposed) return;
    const cells = this.cells;
    this.start();
    for (const cell of cells) void this.ask({ kind: 'addCell', cell, check: false });
  }
}
