/** @file What the plugins of this extension share through JupyterLab's dependency injection. */
import type { ISessionContext } from '@jupyterlab/apputils';
import { Token } from '@lumino/coreutils';
import type { ISignal } from '@lumino/signaling';
import type { ClusterModel } from './model/clusterModel.js';

/** What the panel is about: the kernel of the notebook or console in use. */
export type PanelSubject =
  | { readonly kind: 'none' }
  /** A document without a kernel, or with one that has not said what it is. */
  | { readonly kind: 'starting'; readonly session: ISessionContext }
  | { readonly kind: 'foreign'; readonly session: ISessionContext; readonly kernelName: string }
  | { readonly kind: 'cluster'; readonly session: ISessionContext; readonly model: ClusterModel };

/** One ClusterModel per RavenLab kernel, and which of them is in use. */
export interface IClusterRegistry {
  readonly subject: PanelSubject;
  readonly subjectChanged: ISignal<IClusterRegistry, PanelSubject>;
  /** Whether the panel is on screen: a hidden one is fed at a slower pace. */
  setPanelVisible(isVisible: boolean): void;
  /** Upper bound of updates per second for every model. */
  setMaxHz(maxHz: number): void;
}

export const IClusterRegistry = new Token<IClusterRegistry>(
  '@ravenlab/extension:IClusterRegistry',
  'Follows the RavenLab kernel of the notebook or console in use.',
);

/** Commands of the extension; ids are public, they are what menus and shortcuts refer to. */
export const CommandIds = {
  openPanel: 'ravenlab:open-panel',
  quickstart: 'ravenlab:open-quickstart',
  newNotebook: 'ravenlab:new-notebook',
  invite: 'ravenlab:invite',
  stopRun: 'ravenlab:stop-run',
  scale: 'ravenlab:scale',
  drain: 'ravenlab:drain-worker',
  pause: 'ravenlab:pause-worker',
  resume: 'ravenlab:resume-worker',
  ban: 'ravenlab:ban-worker',
  deposit: 'ravenlab:deposit',
  settle: 'ravenlab:settle-now',
  extend: 'ravenlab:extend-job',
  limits: 'ravenlab:spending-limits',
  refund: 'ravenlab:refund',
  exportLedger: 'ravenlab:export-ledger',
} as const;

export const PANEL_ID = 'ravenlab-panel';
export const TRANSLATION_DOMAIN = 'ravenlab';
