/**
 * @file The queue of execute requests: one cell at a time, reply before idle, idle always last. An error
 * aborts what is queued behind it.
 */

import { KERNEL_LIMITS } from '@ravenlab/protocol';
import type {
  CellId,
  CellOutcome,
  DisplayBundle,
  ExpressionOutcome,
  UserExpression,
} from '../session/threadMessages.js';
import { transformCell } from '../session/transform/cellTransform.js';
import type { CellCode } from '../session/transform/cellTransform.js';
import type { TypeDiagnostic, TypeService } from '../session/types/typeService.js';
import type { UserHost } from '../session/userHost.js';
import type { History } from './history.js';
import type { IopubMessage, OutputRouter } from './outputRouter.js';
import { formatError, formatSyntaxError } from './traceback.js';
import type { CellSource, ErrorContent } from './traceback.js';
import type { IncomingMessage, JsonObject } from './wire.js';

/** What a type error does: stop the cell before it runs, be printed, or nothing. */
export type TypePolicy = 'error' | 'warn' | 'off';

/** A comment on a cell's first line sets the policy from there on: `// types: error`. */
const POLICY_COMMENT = /^\s*\/\/\s*types:\s*(error|warn|off)\b/;

/** Collaborators of an {@link Executor}. */
export interface ExecutorOptions {
  readonly host: UserHost;
  readonly types: TypeService;
  readonly history: History;
  readonly router: OutputRouter<CellId, IncomingMessage>;
  readonly typePolicy: TypePolicy;
  /** Frames of stacks in these directories are ours and are left out. */
  readonly internalDirs: readonly string[];
  readonly publish: (parent: IncomingMessage, message: IopubMessage) => void;
  readonly reply: (parent: IncomingMessage, content: JsonObject) => void;
  /** Lets requests arrive that are in the socket already. */
  readonly drainSocket: () => Promise<void>;
}

/** Flags of an execute request, with the protocol's defaults. */
interface ExecuteRequest {
  readonly code: string;
  readonly silent: boolean;
  readonly storeHistory: boolean;
  readonly stopOnError: boolean;
  readonly allowStdin: boolean;
  readonly userExpressions: Readonly<Record<string, string>>;
}

type Result =
  | { readonly status: 'ok'; readonly bundle: DisplayBundle | null; readonly content: JsonObject }
  | { readonly status: 'error'; readonly content: ErrorContent };

/** Runs cells one after the other. */
export class Executor {
  private readonly options: ExecutorOptions;
  private readonly queue: IncomingMessage[] = [];
  private readonly sources = new Map<string, CellSource>();
  private typePolicy: TypePolicy;
  private executionCount = 0;
  private lastCellId: CellId = 0;
  private isBusy = false;
  private runningMessage: IncomingMessage | null = null;

  constructor(options: ExecutorOptions) {
    this.options = options;
    this.typePolicy = options.typePolicy;
  }

  /** The request whose cell is running. */
  get running(): IncomingMessage | null {
    return this.runningMessage;
  }

  /** Queues an execute request; refuses it at once if the queue is full. */
  enqueue(message: IncomingMessage): void {
    if (this.queue.length >= KERNEL_LIMITS.queuedCells) this.abort(message);
    else this.queue.push(message);
    void this.work();
  }

  /** An error of user code as Jupyter shows it. */
  errorContent(error: Parameters<typeof formatError>[0]): ErrorContent {
    return formatError(error, (name) => this.sources.get(name), this.options.internalDirs);
  }

  /** Aborts everything that waits; the running cell goes on. */
  abortQueue(): void {
    for (const message of this.queue.splice(0)) this.abort(message);
  }

  private async work(): Promise<void> {
    if (this.isBusy) return;
    this.isBusy = true;
    for (let message = this.queue.shift(); message; message = this.queue.shift()) {
      this.runningMessage = message;
      await this.execute(message);
      this.runningMessage = null;
    }
    this.isBusy = false;
  }

  private async execute(message: IncomingMessage): Promise<void> {
    const { publish, reply } = this.options;
    const request = parseRequest(message.content);
    const cellId = ++this.lastCellId;
    publish(message, status('busy'));
    const counts = !request.silent && request.storeHistory;
    if (counts) this.executionCount += 1;
    const count = this.executionCount;
    if (!request.silent) {
      const content = { code: request.code, execution_count: count };
      publish(message, { msgType: 'execute_input', content });
    }
    this.options.router.open(cellId, message);
    const filename = this.filenameFor(count, cellId, counts);
    const { result, checked } = await this.runCell(message, request, { cellId, filename });
    await this.showResult(message, request, result, cellId);
    if (result.status === 'error' && request.stopOnError) {
      await this.options.drainSocket();
      this.abortQueue();
    }
    reply(message, { ...result.content, status: result.status, execution_count: count });
    if (counts) {
      const plain = result.status === 'ok' ? result.bundle?.data['text/plain'] : undefined;
      this.options.history.add(count, request.code, typeof plain === 'string' ? plain : null);
    }
    await this.awaitDiagnostics(checked, filename, cellId);
    await this.drained(cellId);
    publish(message, status('idle'));
  }

  private async runCell(
    message: IncomingMessage,
    request: ExecuteRequest,
    { cellId, filename }: { cellId: CellId; filename: string },
  ): Promise<{ result: Result; checked: Promise<readonly TypeDiagnostic[]> | null }> {
    const transformed = transformCell(request.code);
    if (!transformed.ok) {
      const { message: text, position } = transformed.error;
      const content = formatSyntaxError(text, position, { filename, source: request.code });
      return { result: { status: 'error', content }, checked: null };
    }
    this.remember(filename, { source: request.code, toOriginal: transformed.cell.toOriginal });
    const policy = this.policyFor(request);
    const checked = this.options.types.addCell(
      { filename, code: request.code },
      { check: policy !== 'off' },
    );
    if (policy === 'error') {
      const diagnostics = await checked;
      if (diagnostics.length > 0) {
        const content = typeErrorContent(diagnostics, filename);
        return { result: { status: 'error', content }, checked: null };
      }
    }
    const outcome = await this.options.host.run({
      ...runnable(transformed.cell),
      cellId,
      filename,
      userExpressions: this.expressions(request, cellId),
      allowStdin: request.allowStdin && message.identities.length > 0,
    });
    return { result: this.toResult(outcome), checked: policy === 'warn' ? checked : null };
  }

  private toResult(outcome: CellOutcome): Result {
    if (outcome.status === 'error') {
      return { status: 'error', content: this.errorContent(outcome.error) };
    }
    const expressions = Object.entries(outcome.userExpressions).map(([name, value]) => [
      name,
      this.expressionContent(value),
    ]);
    return {
      status: 'ok',
      bundle: outcome.result,
      content: {
        payload: [],
        user_expressions: Object.fromEntries(expressions) as JsonObject,
      },
    };
  }

  private expressionContent(outcome: ExpressionOutcome): JsonObject {
    return outcome.status === 'ok'
      ? { status: 'ok', ...outcome.bundle }
      : { status: 'error', ...this.errorContent(outcome.error) };
  }

  /** All output first, then the result or the error. */
  private async showResult(
    message: IncomingMessage,
    request: ExecuteRequest,
    result: Result,
    cellId: CellId,
  ): Promise<void> {
    await this.drained(cellId);
    const { publish } = this.options;
    if (result.status === 'error') {
      publish(message, { msgType: 'error', content: result.content });
      return;
    }
    if (!result.bundle || request.silent) return;
    const content = { ...result.bundle, execution_count: this.executionCount };
    publish(message, { msgType: 'execute_result', content });
  }

  /** Types never hold a cell up for long: what comes later is printed later, to the same cell. */
  private async awaitDiagnostics(
    checked: Promise<readonly TypeDiagnostic[]> | null,
    filename: string,
    cellId: CellId,
  ): Promise<void> {
    if (!checked) return;
    const printed = checked.then((diagnostics) => {
      if (diagnostics.length === 0) return;
      const text = `${diagnosticLines(diagnostics, filename).join('\n')}\n`;
      this.options.router.stream(cellId, 'stderr', text, 0);
    });
    if (!this.options.types.isReady) return;
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, KERNEL_LIMITS.diagnosticsWaitMs);
    });
    await Promise.race([printed, patience]);
    clearTimeout(timer);
  }

  private drained(cellId: CellId): Promise<void> {
    return new Promise((resolve) => this.options.router.whenEmpty(cellId, resolve));
  }

  private abort(message: IncomingMessage): void {
    const { publish, reply } = this.options;
    publish(message, status('busy'));
    reply(message, { status: 'aborted', execution_count: this.executionCount });
    publish(message, status('idle'));
  }

  private policyFor(request: ExecuteRequest): TypePolicy {
    const chosen = POLICY_COMMENT.exec(request.code)?.[1];
    if (chosen !== undefined) this.typePolicy = chosen as TypePolicy;
    return request.silent ? 'off' : this.typePolicy;
  }

  private expressions(request: ExecuteRequest, cellId: CellId): UserExpression[] {
    return Object.entries(request.userExpressions).map(([name, code]) => {
      const filename = `cell[${cellId}:${name}].ts`;
      const transformed = transformCell(code);
      if (transformed.ok) {
        const { body, isAsync } = transformed.cell;
        return { name, filename, isAsync, body };
      }
      // The expression's own error is its answer; it must not fail the cell.
      const error = `throw new SyntaxError(${JSON.stringify(transformed.error.message)})`;
      return { name, filename, isAsync: false, body: { code: error, columnOffset: 0 } };
    });
  }

  /** `cell[3].ts` as the prompt counts; a run that is not counted gets a name that cannot clash. */
  private filenameFor(count: number, cellId: CellId, counts: boolean): string {
    return counts ? `cell[${count}].ts` : `cell[silent ${cellId}].ts`;
  }

  private remember(filename: string, source: CellSource): void {
    this.sources.set(filename, source);
    for (const oldest of this.sources.keys()) {
      if (this.sources.size <= KERNEL_LIMITS.rememberedCells) break;
      this.sources.delete(oldest);
    }
  }
}

/** A `status` message. */
export function status(state: 'busy' | 'idle' | 'starting'): IopubMessage {
  return { msgType: 'status', content: { execution_state: state } };
}

function runnable({
  hoisted,
  body,
  names,
}: CellCode): Pick<CellCode, 'hoisted' | 'body' | 'names'> {
  return { hoisted, body, names };
}

function parseRequest(content: JsonObject): ExecuteRequest {
  const silent = content['silent'] === true;
  const expressions = content['user_expressions'];
  const isObject = typeof expressions === 'object' && expressions !== null;
  return {
    code: typeof content['code'] === 'string' ? content['code'] : '',
    silent,
    storeHistory: !silent && content['store_history'] !== false,
    stopOnError: content['stop_on_error'] !== false,
    allowStdin: content['allow_stdin'] === true,
    userExpressions: Object.fromEntries(
      Object.entries(isObject ? expressions : {}).map(([name, code]) => [name, String(code)]),
    ),
  };
}

function diagnosticLines(diagnostics: readonly TypeDiagnostic[], filename: string): string[] {
  return diagnostics.map(
    ({ line, column, code, message }) => `${filename}:${line}:${column} - TS${code}: ${message}`,
  );
}

function typeErrorContent(diagnostics: readonly TypeDiagnostic[], filename: string): ErrorContent {
  const lines = diagnosticLines(diagnostics, filename);
  return { ename: 'TypeScriptError', evalue: lines[0] ?? '', traceback: lines };
}
