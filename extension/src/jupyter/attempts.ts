/** @file Does something with the cluster in use and reports a failure as a notification. */
import { Notification, showErrorMessage } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { CommandError } from '../model/clusterModel.js';
import type { IClusterRegistry, PanelSubject } from '../tokens.js';

export type ClusterSubject = Extract<PanelSubject, { kind: 'cluster' }>;

/** JupyterLab shows 140 of a notification. */
const TOAST_CHARS = 130;

export class Attempts {
  private readonly registry: IClusterRegistry;
  private readonly trans: TranslationBundle;

  constructor(registry: IClusterRegistry, trans: TranslationBundle) {
    this.registry = registry;
    this.trans = trans;
  }

  /** Never rejects. @param what the user wanted, in words */
  async run(what: string, act: (subject: ClusterSubject) => Promise<void>): Promise<void> {
    const { subject } = this.registry;
    try {
      if (subject.kind !== 'cluster') {
        throw new CommandError('offline', this.trans.__('open a RavenLab notebook first'));
      }
      await act(subject);
    } catch (error) {
      const text = messageOf(error);
      // A notification cuts what is longer, and what to do stands at the end.
      if (what.length + text.length > TOAST_CHARS) await showErrorMessage(what, text);
      else Notification.error(`${what}: ${text}`, { autoClose: 8000 });
    }
  }
}

/** Wallets reject with objects that are no errors. */
function messageOf(error: unknown): string {
  if (error instanceof Error) return error.message;
  if (typeof error === 'object' && error !== null && 'message' in error) {
    return String(error.message);
  }
  return String(error);
}
