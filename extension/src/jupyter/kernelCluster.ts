/**
 * @file Ties a ClusterModel to one JupyterLab kernel connection: comm, restarts, lost connections.
 * Never runs code in the kernel and never opens a comm on a kernel that is not ours.
 */
import type { Kernel, KernelMessage } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { JSONObject } from '@lumino/coreutils';
import { UUID } from '@lumino/coreutils';
import { PANEL_KERNEL, PANEL_TARGET } from '@ravenlab/protocol';
import type { CommPort, PortHandlers } from '../model/clusterModel.js';
import { ClusterModel } from '../model/clusterModel.js';

/** Whether the kernel promises our comm target; asks its kernel_info only when the name does not tell. */
export async function isOurKernel(kernel: Kernel.IKernelConnection): Promise<boolean> {
  if (kernel.name === PANEL_KERNEL) return true;
  const info = await kernel.info;
  return info.implementation === PANEL_KERNEL;
}

function reasonIn(message: KernelMessage.ICommCloseMsg): string | null {
  const reason = message.content.data['reason'];
  return typeof reason === 'string' ? reason : null;
}

function openComm(
  kernel: Kernel.IKernelConnection,
  data: object,
  handlers: PortHandlers,
): CommPort {
  const comm = kernel.createComm(PANEL_TARGET);
  comm.onMsg = (message) => {
    handlers.onMessage(message.content.data);
  };
  comm.onClose = (message) => {
    handlers.onClose(reasonIn(message));
  };
  comm.open(data as JSONObject);
  const canSend = () => !comm.isDisposed && !kernel.isDisposed && kernel.status !== 'dead';
  return {
    send: (message) => {
      if (canSend()) comm.send(message as JSONObject);
    },
    close: () => {
      if (canSend()) comm.close();
      else comm.dispose();
    },
  };
}

function scheduleOnce(delayMs: number, run: () => void): () => void {
  const timer = window.setTimeout(run, delayMs);
  return () => window.clearTimeout(timer);
}

/** The model of one kernel; lives until the kernel connection is disposed. */
export class KernelCluster {
  readonly kernel: Kernel.IKernelConnection;
  readonly model: ClusterModel;
  private readonly trans: TranslationBundle;

  constructor(kernel: Kernel.IKernelConnection, trans: TranslationBundle) {
    this.kernel = kernel;
    this.trans = trans;
    this.model = new ClusterModel({
      openPort: (data, handlers) => openComm(kernel, data, handlers),
      after: scheduleOnce,
      newId: () => UUID.uuid4(),
    });
    kernel.statusChanged.connect(this.onStatus);
    kernel.connectionStatusChanged.connect(this.onConnection);
    if (kernel.connectionStatus === 'connected') this.model.connect();
    else this.model.setOffline(trans.__('Waiting for the kernel to start'));
  }

  dispose(): void {
    this.kernel.statusChanged.disconnect(this.onStatus);
    this.kernel.connectionStatusChanged.disconnect(this.onConnection);
    this.model.dispose();
  }

  /** A restart drops every comm without telling them, so they are opened anew. */
  private readonly onStatus = (_kernel: Kernel.IKernelConnection, status: Kernel.Status): void => {
    if (status === 'restarting' || status === 'autorestarting') {
      this.model.setOffline(this.trans.__('The kernel is restarting'));
    } else if (status === 'dead' || status === 'terminating') {
      this.model.setOffline(this.trans.__('The kernel has stopped'));
    } else if (status === 'idle' || status === 'busy') {
      this.recover();
    }
  };

  private readonly onConnection = (
    _kernel: Kernel.IKernelConnection,
    status: Kernel.ConnectionStatus,
  ): void => {
    if (status === 'connected') this.recover();
    else this.model.suspend(this.trans.__('The connection to the kernel is down'));
  };

  private recover(): void {
    const { kernel, model } = this;
    const isAway = kernel.status === 'restarting' || kernel.status === 'autorestarting';
    if (kernel.connectionStatus !== 'connected' || isAway || kernel.status === 'dead') return;
    if (model.view().phase === 'offline') model.resume();
  }
}
