/**
 * @file Comms on the kernel's main thread: open channels between a front end and a handler of ours,
 * served out of band so that a busy cell never delays them. Knows nothing of sockets: the server
 * injects `send`. Follows the Jupyter messaging protocol 5.5, "Custom Messages".
 */

import { randomUUID } from 'node:crypto';

/** A JSON object as it travels in a comm message. */
export type CommData = Readonly<Record<string, unknown>>;

/** Raw frames that travel beside the JSON; read-only to the receiver. */
export type CommBuffers = readonly Uint8Array[];

/** One open channel to one front end. */
export interface Comm {
  readonly id: string;
  readonly targetName: string;
  /** Sends to the front end; a no-op once the comm is closed. */
  send(data: CommData, buffers?: CommBuffers): void;
  /** Closes from our side; `onClose` is not called for one's own close. */
  close(data?: CommData): void;
  /** Called for every message from the front end; set it in `onOpen`. */
  onMessage: ((data: CommData, buffers: CommBuffers) => void) | null;
  /** Called once when the front end (or the kernel's shutdown) closes the comm. */
  onClose: ((data: CommData) => void) | null;
}

/** What serves a registered target name. A throw in `onOpen` closes the comm. */
export interface CommTarget {
  onOpen(comm: Comm, data: CommData, buffers: CommBuffers): void;
}

/** A comm message to the front end, before it is signed and framed. */
export interface OutgoingComm {
  readonly msgType: 'comm_open' | 'comm_msg' | 'comm_close';
  readonly content: CommData;
  readonly buffers: CommBuffers;
}

/** Bounds and outlets of a {@link CommManager}. */
export interface CommManagerOptions {
  readonly send: (message: OutgoingComm) => void;
  /** Where a handler's exception goes; a handler must not take the kernel down. */
  readonly onError: (context: string, error: unknown) => void;
  /** Comms open at once; a further open is refused with comm_close. */
  readonly maxOpenComms: number;
}

class OpenComm implements Comm {
  onMessage: Comm['onMessage'] = null;
  onClose: Comm['onClose'] = null;
  readonly id: string;
  readonly targetName: string;
  private readonly manager: CommManager;

  constructor(manager: CommManager, id: string, targetName: string) {
    this.manager = manager;
    this.id = id;
    this.targetName = targetName;
  }

  send(data: CommData, buffers: CommBuffers = []): void {
    this.manager.sendFrom(this, 'comm_msg', { comm_id: this.id, data }, buffers);
  }

  close(data: CommData = {}): void {
    this.manager.sendFrom(this, 'comm_close', { comm_id: this.id, data }, []);
    this.manager.forget(this);
  }
}

/** Registry of targets and open comms. */
export class CommManager {
  private readonly options: CommManagerOptions;
  private readonly targets = new Map<string, CommTarget>();
  private readonly comms = new Map<string, OpenComm>();

  constructor(options: CommManagerOptions) {
    this.options = options;
  }

  /** Serves `name` with `target`; throws if the name is taken. */
  registerTarget(name: string, target: CommTarget): void {
    if (this.targets.has(name)) throw new Error(`comm target ${name} is already registered`);
    this.targets.set(name, target);
  }

  /** Opens a comm from the kernel's side. */
  open(targetName: string, data: CommData = {}, buffers: CommBuffers = []): Comm {
    const comm = new OpenComm(this, randomUUID(), targetName);
    this.comms.set(comm.id, comm);
    const content = { comm_id: comm.id, target_name: targetName, data };
    this.options.send({ msgType: 'comm_open', content, buffers });
    return comm;
  }

  /** comm_info_reply's `comms`: id to target name, for one target or all. */
  info(targetName?: string): Record<string, { target_name: string }> {
    const open = [...this.comms.values()];
    const wanted = open.filter((comm) => !targetName || comm.targetName === targetName);
    return Object.fromEntries(wanted.map((c) => [c.id, { target_name: c.targetName }]));
  }

  /** Handles comm_open of a front end; unknown targets and a full registry are answered with comm_close. */
  handleOpen(content: CommData, buffers: CommBuffers): void {
    const id = content['comm_id'];
    const targetName = content['target_name'];
    if (typeof id !== 'string' || typeof targetName !== 'string') return;
    const target = this.targets.get(targetName);
    const isFull = this.comms.size >= this.options.maxOpenComms;
    if (!target || isFull || this.comms.has(id)) {
      const reason = !target
        ? `no comm target ${targetName}`
        : isFull
          ? 'too many open comms'
          : 'comm id in use';
      this.options.send({
        msgType: 'comm_close',
        content: { comm_id: id, data: { reason } },
        buffers: [],
      });
      return;
    }
    const comm = new OpenComm(this, id, targetName);
    this.comms.set(id, comm);
    try {
      target.onOpen(comm, asData(content['data']), buffers);
    } catch (error) {
      this.options.onError(`comm target ${targetName}: onOpen`, error);
      comm.close({ reason: String(error) });
    }
  }

  /** Handles comm_msg of a front end; a message for an unknown comm is dropped. */
  handleMessage(content: CommData, buffers: CommBuffers): void {
    const comm = this.find(content);
    if (!comm) return;
    this.guard(comm, 'onMessage', () => comm.onMessage?.(asData(content['data']), buffers));
  }

  /** Handles comm_close of a front end. */
  handleClose(content: CommData): void {
    const comm = this.find(content);
    if (!comm) return;
    this.comms.delete(comm.id);
    this.guard(comm, 'onClose', () => comm.onClose?.(asData(content['data'])));
  }

  /** Tells every handler that its comm is gone; the front ends learn it from the shutdown. */
  closeAll(): void {
    for (const comm of [...this.comms.values()]) {
      this.comms.delete(comm.id);
      this.guard(comm, 'onClose', () => comm.onClose?.({ reason: 'kernel shutdown' }));
    }
  }

  /** For `Comm` only: sends unless the comm is closed. */
  sendFrom(
    comm: Comm,
    msgType: OutgoingComm['msgType'],
    content: CommData,
    buffers: CommBuffers,
  ): void {
    if (this.comms.get(comm.id) === comm) this.options.send({ msgType, content, buffers });
  }

  /** For `Comm` only: drops it from the registry. */
  forget(comm: Comm): void {
    if (this.comms.get(comm.id) === comm) this.comms.delete(comm.id);
  }

  private find(content: CommData): OpenComm | undefined {
    const id = content['comm_id'];
    return typeof id === 'string' ? this.comms.get(id) : undefined;
  }

  private guard(comm: Comm, where: string, run: () => void): void {
    try {
      run();
    } catch (error) {
      this.options.onError(`comm target ${comm.targetName}: ${where}`, error);
    }
  }
}

function asData(value: unknown): CommData {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as CommData)
    : {};
}
