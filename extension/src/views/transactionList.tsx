/** @file The newest transactions of the job: what, how much, how far. */
import type { PaymentTx, PaymentsSummary } from '@ravenlab/protocol';
import { coinScaleFor, formatAmount } from '@ravenlab/protocol';
import { useState } from 'react';
import { TX_LABELS, TX_TEXTS, explorerPage, shortHex } from '../model/paymentsText.js';
import { useServices } from './context.js';
import { Dot } from './parts.js';

/** The rest is one click away. */
const ROWS_AT_FIRST = 4;

function Hash(props: { readonly tx: PaymentTx; readonly explorerUrl: string | null }) {
  const { payments, trans } = useServices();
  const { hash } = props.tx;
  if (hash === null) return null;
  const page = explorerPage(props.explorerUrl, props.tx);
  if (page !== null) {
    return (
      <a href={page} target="_blank" rel="noopener noreferrer" title={hash}>
        {shortHex(hash)}
      </a>
    );
  }
  return (
    <button
      type="button"
      className="rvn-link"
      title={trans.__('Copy the transaction hash %1', hash)}
      onClick={() => void payments.copy(trans.__('Transaction hash'), hash)}
    >
      {shortHex(hash)}
    </button>
  );
}

function Row(props: { readonly tx: PaymentTx; readonly payments: PaymentsSummary }) {
  const { trans } = useServices();
  const { tx, payments } = props;
  const label = TX_LABELS[tx.state];
  const coin = tx.amount === null ? null : coinScaleFor(tx.amount, payments);
  const when = new Date(tx.atMs);
  return (
    <li data-tx={tx.kind} data-state={tx.state}>
      <Dot tone={label.tone} text={label.text(trans)} />
      <span className="rvn-txKind">{TX_TEXTS[tx.kind](trans)}</span>
      <span className="rvn-txAmount">
        {tx.amount === null || coin === null
          ? ''
          : `${formatAmount(tx.amount, coin.decimals)} ${coin.unit}`}
      </span>
      <span className="rvn-txState" title={when.toLocaleString()}>
        {label.text(trans)} <time dateTime={when.toISOString()}>{when.toLocaleTimeString()}</time>
      </span>
      <Hash tx={tx} explorerUrl={payments.chain?.explorerUrl ?? null} />
      {tx.note === null ? null : <span className="rvn-txNote">{tx.note}</span>}
    </li>
  );
}

export function TransactionList(props: { readonly payments: PaymentsSummary }) {
  const { trans } = useServices();
  const [isWhole, setWhole] = useState(false);
  const { transactions } = props.payments;
  if (transactions.length === 0) return null;
  const shown = isWhole ? transactions : transactions.slice(0, ROWS_AT_FIRST);
  return (
    <div className="rvn-transactions">
      <h3>{trans.__('Transactions')}</h3>
      <ul>
        {shown.map((tx) => (
          <Row key={tx.id} tx={tx} payments={props.payments} />
        ))}
      </ul>
      {shown.length < transactions.length ? (
        <button type="button" className="rvn-button" onClick={() => setWhole(true)}>
          {trans.__('Show %1 more', transactions.length - shown.length)}
        </button>
      ) : null}
    </div>
  );
}
