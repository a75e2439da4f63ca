/** @file Follows the notebook or console in use and keeps one KernelCluster per RavenLab kernel. Not a view. */
import type { ISessionContext, IWidgetTracker } from '@jupyterlab/apputils';
import type { Kernel } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { ISignal } from '@lumino/signaling';
import { Signal } from '@lumino/signaling';
import type { Widget } from '@lumino/widgets';
import type { IClusterRegistry, PanelSubject } from '../tokens.js';
import { KernelCluster, isOurKernel } from './kernelCluster.js';

type SessionWidget = Widget & { readonly sessionContext: ISessionContext };

export class ClusterRegistry implements IClusterRegistry {
  readonly subjectChanged: ISignal<IClusterRegistry, PanelSubject>;
  private readonly changed: Signal<IClusterRegistry, PanelSubject>;
  private readonly trans: TranslationBundle;
  private readonly clusters = new Map<string, KernelCluster>();
  private current: PanelSubject = { kind: 'none' };
  private session: ISessionContext | null = null;
  private isPanelVisible = false;
  private maxHz: number | undefined;

  constructor(trans: TranslationBundle) {
    this.trans = trans;
    this.changed = new Signal<IClusterRegistry, PanelSubject>(this);
    this.subjectChanged = this.changed;
  }

  get subject(): PanelSubject {
    return this.current;
  }

  /** The widget used last among those of all followed trackers is the subject. */
  follow<W extends SessionWidget>(tracker: IWidgetTracker<W>): void {
    tracker.currentChanged.connect((_sender, widget) => {
      if (widget !== null) this.use(widget);
    });
    if (tracker.currentWidget !== null) this.use(tracker.currentWidget);
  }

  setPanelVisible(isVisible: boolean): void {
    this.isPanelVisible = isVisible;
    this.pace();
  }

  setMaxHz(maxHz: number): void {
    this.maxHz = maxHz;
    this.pace();
  }

  private use(widget: SessionWidget): void {
    const session = widget.sessionContext;
    if (session === this.session) return;
    this.release();
    this.session = session;
    session.kernelChanged.connect(this.refresh);
    widget.disposed.connect(() => {
      if (this.session !== session) return;
      this.release();
      this.setSubject({ kind: 'none' });
    });
    this.refresh();
  }

  private release(): void {
    this.session?.kernelChanged.disconnect(this.refresh);
    this.session = null;
  }

  private readonly refresh = (): void => {
    const { session } = this;
    if (session === null) return;
    const kernel = session.session?.kernel ?? null;
    if (kernel === null) {
      this.setSubject({ kind: 'starting', session });
      return;
    }
    const known = this.clusters.get(kernel.id);
    if (known?.kernel === kernel) {
      this.setSubject({ kind: 'cluster', session, model: known.model });
      return;
    }
    this.setSubject({ kind: 'starting', session });
    void this.identify(session, kernel);
  };

  private async identify(
    session: ISessionContext,
    kernel: Kernel.IKernelConnection,
  ): Promise<void> {
    let isOurs = false;
    try {
      isOurs = await isOurKernel(kernel);
    } catch {
      // A kernel that dies before it says what it is stays foreign; its successor is asked again.
    }
    if (this.session !== session || session.session?.kernel !== kernel) return;
    if (!isOurs) {
      this.setSubject({ kind: 'foreign', session, kernelName: session.kernelDisplayName });
      return;
    }
    this.setSubject({ kind: 'cluster', session, model: this.clusterOf(kernel).model });
  }

  private clusterOf(kernel: Kernel.IKernelConnection): KernelCluster {
    const known = this.clusters.get(kernel.id);
    // Only the first connection to a kernel may carry comms; a second notebook on it shares that one.
    if (known !== undefined && !known.kernel.isDisposed) return known;
    const cluster = new KernelCluster(kernel, this.trans);
    this.clusters.set(kernel.id, cluster);
    kernel.disposed.connect(() => {
      cluster.dispose();
      if (this.clusters.get(kernel.id) === cluster) this.clusters.delete(kernel.id);
    });
    return cluster;
  }

  private setSubject(subject: PanelSubject): void {
    this.current = subject;
    this.pace();
    this.changed.emit(subject);
  }

  private pace(): void {
    const inUse = this.current.kind === 'cluster' ? this.current.model : null;
    for (const { model } of this.clusters.values()) {
      const visible = this.isPanelVisible && model === inUse;
      model.setPace({ visible, ...(this.maxHz !== undefined && { maxHz: this.maxHz }) });
    }
  }
}
