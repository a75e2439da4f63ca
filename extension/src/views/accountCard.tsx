/** @file The job's account: on which chain it is, what is left of it, how long that lasts, what can be done with it. */
import { copyIcon } from '@jupyterlab/ui-components';
import type { PaymentsSummary } from '@ravenlab/protocol';
import { coinScaleFor, formatAmount, formatDuration, sumAmounts } from '@ravenlab/protocol';
import type { BalancePart } from '../model/paymentsText.js';
import { balanceParts, shortHex, urgencyOf } from '../model/paymentsText.js';
import type { Translate } from '../model/wording.js';
import { CommandIds } from '../tokens.js';
import { useServices, useStore } from './context.js';
import { IconButton } from './parts.js';

type Chain = NonNullable<PaymentsSummary['chain']>;

interface AccountProps {
  readonly payments: PaymentsSummary;
  readonly chain: Chain;
  readonly atMs: number;
}

function AddressLine(props: { readonly label: string; readonly address: string }) {
  const { payments, trans } = useServices();
  const { label, address } = props;
  return (
    <span className="rvn-address">
      {label} <code title={address}>{shortHex(address)}</code>
      <IconButton
        icon={copyIcon}
        title={trans.__('Copy the address: %1', label)}
        onClick={() => void payments.copy(label, address)}
      />
    </span>
  );
}

function ChainLine(props: { readonly chain: Chain }) {
  const { trans } = useServices();
  const { chain } = props;
  return (
    <div className="rvn-chain">
      <p data-rvn="chain">
        <b>{chain.label}</b> {trans.__('chain %1', chain.chainId)}
        {chain.isSimulated ? (
          <small> · {trans.__('on this computer; its coins are worth nothing')}</small>
        ) : null}
      </p>
      <p>
        <AddressLine label={trans.__('Escrow')} address={chain.escrow} />
        <AddressLine label={trans.__('Payer')} address={chain.payer} />
      </p>
    </div>
  );
}

const PART_TEXTS: Readonly<Record<BalancePart['name'], (trans: Translate) => string>> = {
  paid: (trans) => trans.__('Paid'),
  reserved: (trans) => trans.__('Reserved'),
  free: (trans) => trans.__('Free'),
};

function Balance(props: { readonly payments: PaymentsSummary }) {
  const { trans } = useServices();
  const { payments } = props;
  const parts = balanceParts(payments.balance);
  const coin = coinScaleFor(sumAmounts(parts.map(({ amount }) => amount)), payments);
  return (
    <div className="rvn-balance">
      <div className="rvn-balanceBar" aria-hidden="true">
        {parts.map(({ name, share }) => (
          <span key={name} data-part={name} style={{ width: `${(share * 100).toFixed(2)}%` }} />
        ))}
      </div>
      <dl>
        {parts.map(({ name, amount }) => (
          <div key={name} data-part={name}>
            <dt>{PART_TEXTS[name](trans)}</dt>
            <dd data-rvn={name}>
              {formatAmount(amount, coin.decimals)}
              <small> {coin.unit}</small>
            </dd>
          </div>
        ))}
      </dl>
    </div>
  );
}

/** A longer outlook says nothing. */
const YEAR_MS = 366 * 86_400_000;

function Outlook({ payments, atMs }: AccountProps) {
  const { trans } = useServices();
  const { burnPerHour, timeToEmptyMs, expiryMs } = payments;
  const coin = coinScaleFor(burnPerHour, payments);
  const leftMs = expiryMs === null ? null : Math.max(0, expiryMs - atMs);
  const rows = [
    {
      name: 'burn',
      label: trans.__('Spent per hour'),
      value: `${formatAmount(burnPerHour, coin.decimals)} ${coin.unit}`,
      tone: 'quiet',
    },
    {
      name: 'empty',
      label: trans.__('Lasts'),
      value:
        timeToEmptyMs !== null && timeToEmptyMs > YEAR_MS
          ? trans.__('over a year')
          : formatDuration(timeToEmptyMs),
      tone: urgencyOf(timeToEmptyMs),
    },
    {
      name: 'expiry',
      label: trans.__('Job expires in'),
      value: leftMs === 0 ? trans.__('expired') : formatDuration(leftMs),
      tone: urgencyOf(leftMs),
    },
  ];
  return (
    <dl className="rvn-metrics rvn-outlook">
      {rows.map(({ name, label, value, tone }) => (
        <div key={name} className="rvn-metric" data-tone={tone}>
          <dt>{label}</dt>
          <dd data-rvn={name}>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function Actions(props: { readonly chain: Chain }) {
  const { commands, payments, trans } = useServices();
  const isBusy = useStore(payments.isBusy);
  const { chain } = props;
  const settleTitle = chain.isPayerHere
    ? trans.__('Pay every contributor now what its voucher says')
    : trans.__('The engine does not hold the payer key: contributors redeem their vouchers');
  const buttons = [
    {
      command: CommandIds.deposit,
      label: trans.__('Deposit…'),
      title: trans.__('Add to the deposit'),
    },
    { command: CommandIds.settle, label: trans.__('Settle now'), title: settleTitle },
    {
      command: CommandIds.extend,
      label: trans.__('Extend…'),
      title: trans.__('Move the expiry of the job'),
    },
    {
      command: CommandIds.limits,
      label: trans.__('Limits…'),
      title: trans.__('What may be promised at most'),
    },
    {
      command: CommandIds.refund,
      label: trans.__('Refund…'),
      title: trans.__('Take back what is free'),
    },
    {
      command: CommandIds.exportLedger,
      label: trans.__('Export…'),
      title: trans.__('Download the ledger as a file'),
    },
  ];
  return (
    <div className="rvn-paymentActions" role="group" aria-label={trans.__('Payment actions')}>
      {buttons.map(({ command, label, title }) => (
        <button
          key={command}
          type="button"
          className="rvn-button"
          disabled={isBusy || (command === CommandIds.settle && !chain.isPayerHere)}
          title={title}
          onClick={() => void commands.execute(command)}
        >
          {label}
        </button>
      ))}
    </div>
  );
}

export function AccountCard(props: AccountProps) {
  return (
    <div className="rvn-account">
      <ChainLine chain={props.chain} />
      <Balance payments={props.payments} />
      <Outlook {...props} />
      <Actions chain={props.chain} />
    </div>
  );
}
