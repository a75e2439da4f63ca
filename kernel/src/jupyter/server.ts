/**
 * @file The Jupyter protocol of this kernel: which request is answered how. Everything but running cells
 * is answered at once, also while a cell runs. Follows the Jupyter messaging protocol 5.5.
 */

import { KERNEL_LIMITS } from '@ravenlab/protocol';
import type { CellId, OutputItem } from '../session/threadMessages.js';
import { transformCell } from '../session/transform/cellTransform.js';
import type { TypeService } from '../session/types/typeService.js';
import type { InputRequest, UserHost } from '../session/userHost.js';
import type { CommManager, OutgoingComm } from './comms.js';
import { status } from './executor.js';
import type { Executor } from './executor.js';
import type { History } from './history.js';
import { kernelInfo, UsageMeter } from './kernelInfo.js';
import type { IopubMessage, OutputRouter } from './outputRouter.js';
import type { RequestChannel } from './sockets.js';
import { toCodePoints, toUtf16Offset } from './textOffsets.js';
import type { IncomingMessage, JsonObject, MessageCodec } from './wire.js';

/** Collaborators of a {@link KernelServer}. */
export interface KernelServerOptions {
  readonly codec: MessageCodec;
  readonly send: (channel: RequestChannel | 'iopub', frames: (Uint8Array | string)[]) => void;
  readonly version: string;
  readonly types: TypeService;
  readonly history: History;
  readonly comms: CommManager;
  readonly onShutdown: (options: { readonly restart: boolean }) => void;
  readonly onWarning: (context: string, detail: unknown) => void;
}

/** What needs the server's outlets to be built. */
export interface KernelParts {
  readonly host: UserHost;
  readonly executor: Executor;
  readonly router: OutputRouter<CellId, IncomingMessage>;
}

type Content = JsonObject | null | Promise<JsonObject | null>;
/** Returns the content of the reply; null if the request has none. */
type Handler = (message: IncomingMessage, channel: RequestChannel) => Content;

/** Dispatches requests and publishes. */
export class KernelServer {
  private readonly options: KernelServerOptions;
  private readonly usage = new UsageMeter();
  private parts: KernelParts | null = null;
  /** Parent of messages that no request caused. */
  private lastParent: JsonObject = {};

  /** Requests other than execute, by type; the same on shell and control. */
  private readonly handlers: Readonly<Record<string, Handler>> = {
    kernel_info_request: () => kernelInfo(this.options.version),
    complete_request: ({ content }) => this.complete(content),
    inspect_request: ({ content }) => this.inspect(content),
    is_complete_request: ({ content }) => isComplete(codeOf(content)),
    history_request: ({ content }) => ({
      status: 'ok',
      history: this.options.history.query(content),
    }),
    comm_info_request: ({ content }) => {
      const target = content['target_name'];
      const comms = this.options.comms.info(typeof target === 'string' ? target : undefined);
      return { status: 'ok', comms };
    },
    comm_open: ({ content, buffers }) => {
      this.options.comms.handleOpen(content, buffers);
      return null;
    },
    comm_msg: ({ content, buffers }) => {
      this.options.comms.handleMessage(content, buffers);
      return null;
    },
    comm_close: ({ content }) => {
      this.options.comms.handleClose(content);
      return null;
    },
    interrupt_request: async () => {
      await this.interrupt();
      return { status: 'ok' };
    },
    shutdown_request: ({ content }) => {
      const restart = content['restart'] === true;
      // After the reply and its idle have been sent.
      setImmediate(() => this.options.onShutdown({ restart }));
      return { status: 'ok', restart };
    },
    usage_request: () => this.usage.read(),
    // There is no debugger yet; `success: false` is how the debug protocol refuses.
    debug_request: ({ content }) => ({
      type: 'response',
      request_seq: content['seq'] ?? 0,
      command: content['command'] ?? '',
      success: false,
      message: 'this kernel has no debugger',
    }),
  };

  constructor(options: KernelServerOptions) {
    this.options = options;
  }

  /** Connects the parts that publish through this server. Call once, before the first message. */
  attach(parts: KernelParts): void {
    this.parts = parts;
  }

  /** Handles one multipart message; anything malformed is dropped with a warning. */
  receive(channel: RequestChannel, frames: readonly Uint8Array[]): void {
    const decoded = this.options.codec.decode(frames);
    if (!decoded.ok) {
      this.options.onWarning(`dropped a message on ${channel}`, decoded.reason);
      return;
    }
    const { message } = decoded;
    this.lastParent = message.header;
    if (channel === 'stdin') {
      this.acceptInput(message);
    } else if (message.header.msg_type === 'execute_request') {
      this.requireParts().executor.enqueue(message);
    } else {
      void this.handle(message, channel);
    }
  }

  /** Greets a new subscriber of IOPub. */
  welcome(topic: Uint8Array): void {
    const content = { subscription: Buffer.from(topic).toString('utf8') };
    const message = { msgType: 'iopub_welcome', identities: [topic], parentHeader: {}, content };
    this.options.send('iopub', this.options.codec.encode(message));
  }

  /** Publishes a message on IOPub as caused by `parent`. */
  readonly publish = (parent: IncomingMessage | null, message: IopubMessage): void => {
    this.publishRaw(parent?.header ?? {}, message, []);
  };

  /** Publishes a message of a comm. */
  readonly sendComm = ({ msgType, content, buffers }: OutgoingComm): void => {
    this.publishRaw(this.lastParent, { msgType, content }, buffers);
  };

  /** Replies on shell to an execute request. */
  readonly reply = (parent: IncomingMessage, content: JsonObject): void => {
    this.replyOn('shell', parent, content);
  };

  /** Turns output of the user thread into IOPub messages. */
  readonly onOutput = (cellId: CellId | null, item: OutputItem, sizeBytes: number): void => {
    const { router, executor } = this.requireParts();
    switch (item.kind) {
      case 'stream':
        router.stream(cellId, item.name, item.text, sizeBytes);
        return;
      case 'display': {
        const transient = item.displayId === null ? {} : { display_id: item.displayId };
        const msgType = item.isUpdate ? 'update_display_data' : 'display_data';
        const { displayId } = item;
        router.message(
          cellId,
          { msgType, content: { ...item.bundle, transient } },
          { displayId, sizeBytes },
        );
        return;
      }
      case 'clear': {
        const content = { wait: item.wait };
        router.message(cellId, { msgType: 'clear_output', content }, { sizeBytes });
        return;
      }
      case 'lateError': {
        // An `error` message belongs to a run; what fails later is text on stderr.
        const text = `${executor.errorContent(item.error).traceback.join('\n')}\n`;
        router.stream(cellId, 'stderr', text, sizeBytes);
        return;
      }
    }
  };

  /** Asks the front end that runs the cell for a line of text. */
  readonly onInput = ({ prompt, isPassword }: InputRequest): void => {
    const parent = this.requireParts().executor.running;
    if (!parent) return;
    const frames = this.options.codec.encode({
      msgType: 'input_request',
      identities: parent.identities,
      parentHeader: parent.header,
      content: { prompt, password: isPassword },
    });
    this.options.send('stdin', frames);
  };

  /** Stop: the running cell ends, queued cells are aborted, variables stay. */
  async interrupt(): Promise<void> {
    const { executor, host } = this.requireParts();
    executor.abortQueue();
    await host.stop();
  }

  private async handle(message: IncomingMessage, channel: RequestChannel): Promise<void> {
    const type = message.header.msg_type;
    const handler = Object.hasOwn(this.handlers, type) ? this.handlers[type] : undefined;
    if (!handler) {
      this.options.onWarning('ignored a request of unknown type', type);
      return;
    }
    this.publish(message, status('busy'));
    try {
      const content = await handler(message, channel);
      if (content) this.replyOn(channel, message, content);
    } catch (error) {
      this.options.onWarning(`answering ${type}`, error);
      const evalue = error instanceof Error ? error.message : String(error);
      const content = { status: 'error', ename: 'KernelError', evalue, traceback: [] };
      this.replyOn(channel, message, content);
    }
    this.publish(message, status('idle'));
    // Front ends show the last status they saw: a cell that still runs is busy.
    const running = this.requireParts().executor.running;
    if (running) this.publish(running, status('busy'));
  }

  private async complete(content: JsonObject): Promise<JsonObject> {
    const { code, cursor, offset } = cursorOf(content);
    const found = await this.options.types.complete(code, offset);
    if (!found) {
      return { status: 'ok', matches: [], cursor_start: cursor, cursor_end: cursor, metadata: {} };
    }
    const start = toCodePoints(code, found.start);
    const end = toCodePoints(code, found.end);
    const typed = found.items.map(({ text, type }) => ({ text, type, start, end }));
    return {
      status: 'ok',
      matches: found.items.map(({ text }) => text),
      cursor_start: start,
      cursor_end: end,
      metadata: { _jupyter_types_experimental: typed },
    };
  }

  private async inspect(content: JsonObject): Promise<JsonObject> {
    const { code, offset } = cursorOf(content);
    const found = await this.options.types.inspect(code, offset);
    if (!found) return { status: 'ok', found: false, data: {}, metadata: {} };
    const { signature, documentation } = found;
    const data = {
      'text/plain': [signature, documentation].filter((part) => part !== '').join('\n\n'),
      'text/markdown': `\`\`\`typescript\n${signature}\n\`\`\`\n\n${documentation}`.trimEnd(),
    };
    return { status: 'ok', found: true, data, metadata: {} };
  }

  private acceptInput({ header, content, parentHeader: _ }: IncomingMessage): void {
    if (header.msg_type !== 'input_reply') return;
    const value = content['value'];
    this.requireParts().host.answerInput(typeof value === 'string' ? value : '');
  }

  private replyOn(channel: RequestChannel, parent: IncomingMessage, content: JsonObject): void {
    const msgType = parent.header.msg_type.replace(/_request$/, '_reply');
    const { identities, header: parentHeader } = parent;
    this.options.send(
      channel,
      this.options.codec.encode({ msgType, identities, parentHeader, content }),
    );
  }

  private publishRaw(
    parentHeader: JsonObject,
    { msgType, content }: IopubMessage,
    buffers: readonly Uint8Array[],
  ): void {
    const message = { msgType, identities: [msgType], parentHeader, content, buffers };
    this.options.send('iopub', this.options.codec.encode(message));
  }

  private requireParts(): KernelParts {
    if (!this.parts) throw new Error('attach() must be called before messages arrive');
    return this.parts;
  }
}

interface Cursor {
  readonly code: string;
  /** In code points, as the request counts. */
  readonly cursor: number;
  /** In UTF-16 units. */
  readonly offset: number;
}

function codeOf(content: JsonObject): string {
  return typeof content['code'] === 'string' ? content['code'] : '';
}

function cursorOf(content: JsonObject): Cursor {
  const code = codeOf(content).slice(0, KERNEL_LIMITS.cellChars);
  const wanted = content['cursor_pos'];
  const cursor =
    typeof wanted === 'number' && wanted >= 0 ? wanted : toCodePoints(code, code.length);
  return { code, cursor, offset: toUtf16Offset(code, cursor) };
}

function isComplete(code: string): JsonObject {
  const transformed = transformCell(code);
  if (transformed.ok) return { status: 'complete' };
  if (!transformed.error.isIncomplete) return { status: 'invalid' };
  const lastLine = code.trimEnd().split('\n').at(-1) ?? '';
  const indent = /^\s*/.exec(lastLine)?.[0] ?? '';
  return { status: 'incomplete', indent: /[{([]$/.test(lastLine) ? `${indent}  ` : indent };
}
