/**
 * @file What a user can do about money: deposit, take back, extend, limit, settle now, export. The engine signs where it holds the
 * payer's key, else a wallet in the browser. Asks first; reports failures as notifications.
 */
import { Notification } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { ExportFormat, PaymentsSummary, Sent } from '@ravenlab/protocol';
import type { ClusterModel } from '../model/clusterModel.js';
import { Store } from '../model/store.js';
import type { Wallet } from '../model/wallet.js';
import { WalletJob } from '../model/wallet.js';
import type { IClusterRegistry } from '../tokens.js';
import { Attempts } from './attempts.js';
import { copyText, saveFile } from './browser.js';
import { PaymentDialogs } from './paymentDialogs.js';
import { findWallets } from './wallets.js';

type Chain = NonNullable<PaymentsSummary['chain']>;

/** 512 KiB each: more than this is for `npm run chain`, not for a browser's memory. */
const MAX_EXPORT_PARTS = 512;

const MIME_TYPES: Readonly<Record<ExportFormat, string>> = {
  csv: 'text/csv',
  json: 'application/json',
};

interface Deal {
  readonly model: ClusterModel;
  readonly payments: PaymentsSummary;
  readonly chain: Chain;
}

export class PaymentActions {
  /** Something is on its way that should not be asked for twice. */
  readonly isBusy = new Store(false);
  private readonly registry: IClusterRegistry;
  private readonly attempts: Attempts;
  private readonly dialogs: PaymentDialogs;
  private readonly trans: TranslationBundle;

  constructor(registry: IClusterRegistry, trans: TranslationBundle) {
    this.registry = registry;
    this.trans = trans;
    this.attempts = new Attempts(registry, trans);
    this.dialogs = new PaymentDialogs(trans);
  }

  /** Whether there is a job on a chain to act on. */
  get hasChain(): boolean {
    return (this.payments?.chain ?? null) !== null;
  }

  get canSettle(): boolean {
    return this.payments?.chain?.isPayerHere === true;
  }

  async settle(): Promise<void> {
    await this.act(this.trans.__('Settle'), async ({ model }) => {
      this.tell(this.trans.__('Settling'), await model.command('settle', {}));
    });
  }

  async deposit(): Promise<void> {
    const what = this.trans.__('Deposit');
    await this.act(what, async (deal) => {
      const wallet = await this.walletFor(deal.chain);
      if (wallet === undefined) return;
      const amount = await this.dialogs.askDeposit(deal.payments, deal.chain, wallet);
      if (amount === null) return;
      if (wallet !== null) await this.byWallet(what, deal, wallet, (job) => job.deposit(amount));
      else this.tell(what, await deal.model.command('deposit', { amount: amount.toString() }));
    });
  }

  async refund(): Promise<void> {
    const what = this.trans.__('Refund');
    await this.act(what, async (deal) => {
      const wallet = await this.walletFor(deal.chain);
      if (wallet === undefined) return;
      if (!(await this.dialogs.confirmRefund(deal.payments, deal.chain, wallet))) return;
      if (wallet !== null) await this.byWallet(what, deal, wallet, (job) => job.refund());
      else this.tell(what, await deal.model.command('refund', {}));
    });
  }

  async extend(): Promise<void> {
    const what = this.trans.__('Extend');
    await this.act(what, async (deal) => {
      const wallet = await this.walletFor(deal.chain);
      if (wallet === undefined) return;
      const expiryMs = await this.dialogs.askExpiry(deal.payments, deal.chain, wallet);
      if (expiryMs === null) return;
      const expiryS = BigInt(Math.floor(expiryMs / 1000));
      if (wallet !== null) await this.byWallet(what, deal, wallet, (job) => job.extend(expiryS));
      else this.tell(what, await deal.model.command('extend', { expiryMs }));
    });
  }

  async setLimits(): Promise<void> {
    await this.act(this.trans.__('Limits'), async ({ model, payments }) => {
      const limits = await this.dialogs.askLimits(payments);
      if (limits !== null) await model.command('setLimits', limits);
    });
  }

  async exportLedger(): Promise<void> {
    await this.act(this.trans.__('Export'), async ({ model }) => {
      const format = await this.dialogs.askFormat();
      if (format === null) return;
      const day = new Date().toISOString().slice(0, 10);
      saveFile(
        `ravenlab-ledger-${day}.${format}`,
        await this.ledgerParts(model, format),
        MIME_TYPES[format],
      );
    });
  }

  async copy(what: string, text: string): Promise<void> {
    if (await copyText(text)) Notification.success(this.trans.__('%1 copied', what));
    else Notification.info(`${what}: ${text}`, { autoClose: false });
  }

  private get payments(): PaymentsSummary | null {
    const { subject } = this.registry;
    return subject.kind === 'cluster'
      ? (subject.model.view().replica?.state.payments ?? null)
      : null;
  }

  private async act(what: string, run: (deal: Deal) => Promise<void>): Promise<void> {
    if (this.isBusy.get()) return;
    this.isBusy.set(true);
    await this.attempts.run(what, async ({ model }) => {
      const { payments } = this;
      const chain = payments?.chain ?? null;
      if (payments === null || chain === null) {
        throw new Error(this.trans.__('there is no job on a chain yet'));
      }
      await run({ model, payments, chain });
    });
    this.isBusy.set(false);
  }

  /** Null where the engine signs; undefined when the user chose no wallet. */
  private async walletFor(chain: Chain): Promise<Wallet | null | undefined> {
    if (chain.isPayerHere) return null;
    return (await this.dialogs.chooseWallet(await findWallets(), chain.payer)) ?? undefined;
  }

  private async byWallet(
    what: string,
    { chain }: Deal,
    wallet: Wallet,
    send: (job: WalletJob) => Promise<string>,
  ): Promise<void> {
    const { trans } = this;
    const pause = (durationMs: number) =>
      new Promise<void>((done) => window.setTimeout(done, durationMs));
    Notification.info(trans.__('%1: confirm in %2', what, wallet.name), { autoClose: 6000 });
    const hash = await send(new WalletJob({ wallet, chain, pause }));
    Notification.success(trans.__('%1: in a block, %2', what, hash), { autoClose: 8000 });
  }

  private async ledgerParts(model: ClusterModel, format: ExportFormat): Promise<string[]> {
    const parts: string[] = [];
    let cursor: string | null = null;
    do {
      if (parts.length === MAX_EXPORT_PARTS) {
        throw new Error(this.trans.__('the ledger is too large for a browser; use npm run chain'));
      }
      const part: { readonly text: string; readonly cursor: string | null } = await model.command(
        'exportLedger',
        { format, cursor },
      );
      parts.push(part.text);
      cursor = part.cursor;
    } while (cursor !== null);
    return parts;
  }

  private tell(what: string, { transaction }: Sent): void {
    const { trans } = this;
    if (transaction === null) Notification.info(trans.__('%1: there is nothing to do', what));
    else Notification.info(trans.__('%1: on its way, see Transactions', what), { autoClose: 4000 });
  }
}
