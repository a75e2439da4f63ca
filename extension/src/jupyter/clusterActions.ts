/** @file What a user can do to the cluster in use; shared by the panel and the commands. Reports failures as notifications. */
import { Dialog, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { displayName } from '@ravenlab/protocol';
import { Store } from '../model/store.js';
import type { IClusterRegistry } from '../tokens.js';
import { Attempts } from './attempts.js';
import { copyText } from './browser.js';

/** The join command on show; it holds a secret, so it is kept in memory only while it is shown. */
export interface Invitation {
  readonly command: string;
  readonly expiresAtMs: number | null;
  /** False when the browser refused its clipboard: the user copies by hand. */
  readonly isCopied: boolean;
}

/** A stop that the engine has not confirmed by then is repeated as a kernel interrupt. */
const STOP_PATIENCE_MS = 800;

export class ClusterActions {
  readonly invitation = new Store<Invitation | null>(null);
  readonly isStopping = new Store(false);
  private readonly registry: IClusterRegistry;
  private readonly attempts: Attempts;
  private readonly trans: TranslationBundle;

  constructor(registry: IClusterRegistry, trans: TranslationBundle) {
    this.registry = registry;
    this.trans = trans;
    this.attempts = new Attempts(registry, trans);
    registry.subjectChanged.connect(() => this.invitation.set(null));
  }

  /** Whether commands can be sent now. */
  get isReady(): boolean {
    const { subject } = this.registry;
    return subject.kind === 'cluster' && subject.model.view().phase === 'live';
  }

  get hasRun(): boolean {
    const { subject } = this.registry;
    if (subject.kind !== 'cluster') return false;
    const state = subject.model.view().replica?.state.job?.state;
    return state === 'running' || state === 'paused';
  }

  async invite(): Promise<void> {
    await this.attempts.run(this.trans.__('Invite'), async ({ model }) => {
      const { command, expiresAtMs } = await model.command('invite', {});
      const isCopied = await copyText(command);
      this.invitation.set({ command, expiresAtMs, isCopied });
    });
  }

  async copyInvitation(): Promise<void> {
    const invitation = this.invitation.get();
    if (invitation === null) return;
    const isCopied = await copyText(invitation.command);
    this.invitation.set({ ...invitation, isCopied });
  }

  closeInvitation(): void {
    this.invitation.set(null);
  }

  /** Stops the run; a kernel that does not confirm in time is interrupted, which stops its cell. */
  async stopRun(): Promise<void> {
    if (this.isStopping.get()) return;
    this.isStopping.set(true);
    await this.attempts.run(this.trans.__('Stop'), async ({ model, session }) => {
      const patience = window.setTimeout(() => {
        void session.session?.kernel?.interrupt();
      }, STOP_PATIENCE_MS);
      try {
        await model.command('stopRun', {});
      } finally {
        window.clearTimeout(patience);
      }
    });
    this.isStopping.set(false);
  }

  async scale(workers: number): Promise<void> {
    await this.attempts.run(this.trans.__('Set workers'), async ({ model }) => {
      await model.command('scale', { workers });
    });
  }

  async drain(workerId: string): Promise<void> {
    await this.attempts.run(this.trans.__('Drain'), async ({ model }) => {
      await model.command('drain', { workerId });
    });
  }

  async pause(workerId: string): Promise<void> {
    await this.attempts.run(this.trans.__('Pause'), async ({ model }) => {
      await model.command('pause', { workerId });
    });
  }

  async resume(workerId: string): Promise<void> {
    await this.attempts.run(this.trans.__('Resume'), async ({ model }) => {
      await model.command('resume', { workerId });
    });
  }

  /** Asks first: a contributor who is sent away cannot come back by itself. */
  async ban(workerId: string): Promise<void> {
    await this.attempts.run(this.trans.__('Ban'), async ({ model }) => {
      const rows = model.view().replica?.state.contributors ?? [];
      const row = rows.find((each) => each.workerId === workerId);
      const name = row === undefined ? workerId.slice(0, 8) : displayName(row);
      const { button } = await showDialog({
        title: this.trans.__('Ban %1?', name),
        body: this.trans.__(
          'It is sent away and not let in again. What it has earned stays owed. To undo: await cluster.unban(%1) in a cell.',
          JSON.stringify(row?.shortId ?? workerId),
        ),
        buttons: [
          Dialog.cancelButton({ label: this.trans.__('Cancel') }),
          Dialog.warnButton({ label: this.trans.__('Ban') }),
        ],
        defaultButton: 0,
      });
      if (button.accept) await model.command('ban', { workerId });
    });
  }
}
