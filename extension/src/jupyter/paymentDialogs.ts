/** @file The questions that are asked before money moves. They decide nothing: amounts go to the kernel or to a wallet. */
import { Dialog, InputDialog, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';
import type { ExportFormat, PaymentsSummary, SpendLimits } from '@ravenlab/protocol';
import { formatAmount, parseAmount } from '@ravenlab/protocol';
import type { Wallet } from '../model/wallet.js';

const DAY_MS = 86_400_000;
/** Digits behind the point where an amount is shown to be decided on. */
const DECISION_DIGITS = 6;

type Chain = NonNullable<PaymentsSummary['chain']>;

/** Who signs, and what for: read before anything is signed. */
function placeOf(chain: Chain, wallet: Wallet | null, trans: TranslationBundle): string {
  const signer =
    wallet !== null
      ? trans.__('%1 will ask you to sign.', wallet.name)
      : chain.isSimulated
        ? trans.__('The engine signs with its test account; these coins are worth nothing.')
        : trans.__('The engine signs for the payer.');
  const place = trans.__(
    'Chain: %1 (%2). Escrow: %3. Payer: %4.',
    chain.label,
    chain.chainId,
    chain.escrow,
    chain.payer,
  );
  return `${place} ${signer}`;
}

function complain(text: string): never {
  throw new Error(text);
}

export class PaymentDialogs {
  private readonly trans: TranslationBundle;

  constructor(trans: TranslationBundle) {
    this.trans = trans;
  }

  /** Base units, or null when the user thought better of it. Throws for what is no amount. */
  async askDeposit(
    payments: PaymentsSummary,
    chain: Chain,
    wallet: Wallet | null,
  ): Promise<bigint | null> {
    const { trans } = this;
    const { currency, decimals } = payments;
    const { value } = await InputDialog.getText({
      title: trans.__('Deposit'),
      label: `${trans.__('How many %1 to deposit.', currency)} ${placeOf(chain, wallet, trans)}`,
      placeholder: '10',
      okLabel: trans.__('Deposit'),
    });
    if (value === null) return null;
    const amount = parseAmount(value, decimals);
    if (amount === null || amount === '0') {
      complain(
        trans.__(
          '"%1" is no amount; write it like 12.5, with at most %2 digits behind the point',
          value,
          decimals,
        ),
      );
    }
    return BigInt(amount);
  }

  async confirmRefund(
    payments: PaymentsSummary,
    chain: Chain,
    wallet: Wallet | null,
  ): Promise<boolean> {
    const { trans } = this;
    const { balance, currency, decimals } = payments;
    const free = formatAmount(balance.free, decimals, DECISION_DIGITS);
    const reserved = formatAmount(balance.reserved, decimals, DECISION_DIGITS);
    const what = trans.__(
      '%1 %2 that are free go back to the payer, and contributors get no new reservations from them. %3 %2 stay reserved until a day after the job expires.',
      free,
      currency,
      reserved,
    );
    const { button } = await showDialog({
      title: trans.__('Take back the deposit?'),
      body: `${what} ${placeOf(chain, wallet, trans)}`,
      buttons: [
        Dialog.cancelButton({ label: trans.__('Cancel') }),
        Dialog.warnButton({ label: trans.__('Refund') }),
      ],
      defaultButton: 0,
    });
    return button.accept;
  }

  /** The new expiry, Unix ms, or null. */
  async askExpiry(
    payments: PaymentsSummary,
    chain: Chain,
    wallet: Wallet | null,
  ): Promise<number | null> {
    const { trans } = this;
    const from = payments.expiryMs ?? Date.now();
    const choices = [1, 7, 30].map((days) => {
      const expiryMs = from + days * DAY_MS;
      return { expiryMs, label: trans._n('%1 day', '%1 days', days) };
    });
    const { value } = await InputDialog.getItem({
      title: trans.__('Extend the job'),
      label: `${trans.__('It expires %1. Extend it by:', new Date(from).toLocaleString())} ${placeOf(chain, wallet, trans)}`,
      items: choices.map(({ label }) => label),
      okLabel: trans.__('Extend'),
    });
    return choices.find(({ label }) => label === value)?.expiryMs ?? null;
  }

  async askLimits(payments: PaymentsSummary): Promise<SpendLimits | null> {
    const { trans } = this;
    const body = new LimitsBody(payments, trans);
    const { button, value } = await showDialog({
      title: trans.__('Spending limits'),
      body,
      buttons: [
        Dialog.cancelButton({ label: trans.__('Cancel') }),
        Dialog.okButton({ label: trans.__('Set limits') }),
      ],
    });
    if (!button.accept || value === null) return null;
    return body.read(value);
  }

  async askFormat(): Promise<ExportFormat | null> {
    const { trans } = this;
    const choices = [
      { format: 'csv', label: trans.__('CSV: the lines that are hashed') },
      { format: 'json', label: trans.__('JSON: with vouchers and signatures') },
    ] as const;
    const { value } = await InputDialog.getItem({
      title: trans.__('Export the ledger'),
      label: trans.__('One line for each judged unit; it re-hashes to what the chain anchors.'),
      items: choices.map(({ label }) => label),
      okLabel: trans.__('Export'),
    });
    return choices.find(({ label }) => label === value)?.format ?? null;
  }

  /** The only wallet, or the one that is chosen; null when the user chose none. Throws when there is none. */
  async chooseWallet(wallets: readonly Wallet[], payer: string): Promise<Wallet | null> {
    const { trans } = this;
    const [first] = wallets;
    if (first === undefined) {
      complain(
        trans.__(
          'the engine does not hold the key of the payer %1, and this browser has no wallet. Install one that has it, or use npm run chain.',
          payer,
        ),
      );
    }
    if (wallets.length === 1) return first;
    const { value } = await InputDialog.getItem({
      title: trans.__('Which wallet?'),
      label: trans.__('It must hold the payer %1.', payer),
      items: wallets.map(({ name }) => name),
    });
    return wallets.find(({ name }) => name === value) ?? null;
  }
}

const LIMIT_NAMES = ['perLane', 'perHour', 'perRun'] as const;
type TypedLimits = Readonly<Record<(typeof LIMIT_NAMES)[number], string>>;

/** Three amounts; an empty field is no limit. */
class LimitsBody extends Widget implements Dialog.IBodyWidget<TypedLimits> {
  private readonly fields: ReadonlyMap<(typeof LIMIT_NAMES)[number], HTMLInputElement>;
  private readonly payments: PaymentsSummary;
  private readonly trans: TranslationBundle;

  constructor(payments: PaymentsSummary, trans: TranslationBundle) {
    super();
    this.payments = payments;
    this.trans = trans;
    this.addClass('rvn-limits');
    const { currency, decimals, limits } = payments;
    const labels: TypedLimits = {
      perLane: trans.__('For one contributor, in all (%1)', currency),
      perHour: trans.__('In an hour (%1)', currency),
      perRun: trans.__('Since the engine was started (%1)', currency),
    };
    const hint = document.createElement('p');
    hint.textContent = trans.__(
      'Checked before a voucher is signed. Empty: no limit but the deposit.',
    );
    this.node.append(hint);
    this.fields = new Map(
      LIMIT_NAMES.map((name) => {
        const label = document.createElement('label');
        const field = document.createElement('input');
        field.className = 'jp-mod-styled';
        field.inputMode = 'decimal';
        field.name = name;
        const limit = limits[name];
        field.value = limit === null ? '' : formatAmount(limit, decimals, decimals);
        field.value = field.value.replaceAll(',', '').replace(/\.?0+$/, '');
        label.append(labels[name], field);
        this.node.append(label);
        return [name, field] as const;
      }),
    );
  }

  getValue(): TypedLimits {
    const typed = (name: (typeof LIMIT_NAMES)[number]) => this.fields.get(name)?.value ?? '';
    return { perLane: typed('perLane'), perHour: typed('perHour'), perRun: typed('perRun') };
  }

  /** Throws for what is no amount. */
  read(typed: TypedLimits): SpendLimits {
    const limit = (text: string): string | null => {
      if (text.trim() === '') return null;
      return (
        parseAmount(text, this.payments.decimals) ??
        complain(this.trans.__('"%1" is no amount; write it like 12.5', text))
      );
    };
    return {
      perLane: limit(typed.perLane),
      perHour: limit(typed.perHour),
      perRun: limit(typed.perRun),
    };
  }
}
