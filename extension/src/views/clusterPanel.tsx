/** @file The panel: picks what to show for the subject in use. Lays out, computes nothing. */
import type { PanelState } from '@ravenlab/protocol';
import { coinScaleFor, formatAmount, formatCount, formatRate } from '@ravenlab/protocol';
import { useEffect, useState } from 'react';
import { inviteIcon, ravenIcon } from '../icons.js';
import type { ClusterModel, ModelView } from '../model/clusterModel.js';
import { CLUSTER_LABELS, spokenSummary } from '../model/wording.js';
import { CommandIds } from '../tokens.js';
import type { PanelServices } from './context.js';
import { ServicesContext, useServices, useStore, useSubject } from './context.js';
import { Alerts } from './alerts.js';
import { ContributorsSection } from './contributorsSection.js';
import { ForeignKernel, NoKernel, NoNotebook, NotLive, StaleBanner } from './emptyStates.js';
import { InvitationBox } from './invitationBox.js';
import { JobSection } from './jobSection.js';
import { Metric, Pill } from './parts.js';
import { PaymentsSection } from './paymentsSection.js';

/** A screen reader is not a ticker. */
const SPEAK_EVERY_MS = 5_000;

function Header(props: { readonly state: PanelState; readonly canAct: boolean }) {
  const { commands, trans } = useServices();
  const { cluster, payments } = props.state;
  const coin = coinScaleFor(payments.totalMetered, payments);
  return (
    <header className="rvn-head">
      <div className="rvn-headRow">
        <ravenIcon.react tag="span" width="18px" height="18px" aria-hidden="true" />
        <h1>{trans.__('Cluster')}</h1>
        <Pill label={CLUSTER_LABELS[cluster.state]} />
        <button
          type="button"
          className="rvn-button rvn-primary rvn-invite"
          disabled={!props.canAct}
          title={trans.__('Copy the command that joins another machine')}
          onClick={() => void commands.execute(CommandIds.invite)}
        >
          <inviteIcon.react tag="span" width="14px" height="14px" />
          {trans.__('Invite')}
        </button>
      </div>
      <dl className="rvn-metrics rvn-headline">
        <Metric label={trans.__('Workers')} value={formatCount(cluster.workerCount)} />
        <Metric label={trans.__('Samples/s')} value={formatRate(cluster.samplesPerSecond)} />
        <Metric label={trans.__('Units done')} value={formatCount(cluster.unitsDone)} />
        <Metric
          label={trans.__('Metered')}
          value={formatAmount(payments.totalMetered, coin.decimals)}
          unit={coin.unit}
        />
      </dl>
    </header>
  );
}

function SpokenSummary(props: { readonly model: ClusterModel }) {
  const { trans } = useServices();
  const [text, setText] = useState('');
  const { model } = props;
  useEffect(() => {
    const speak = () => {
      const { phase, replica } = model.view();
      if (phase === 'live' && replica !== null) setText(spokenSummary(replica.state, trans));
    };
    const timer = window.setInterval(speak, SPEAK_EVERY_MS);
    return () => window.clearInterval(timer);
  }, [model, trans]);
  return (
    <div className="rvn-sr" aria-live="polite">
      {text}
    </div>
  );
}

function Content(props: {
  readonly view: ModelView;
  readonly state: PanelState;
  readonly atMs: number;
}) {
  const { view, state } = props;
  const isLive = view.phase === 'live';
  return (
    <div className="rvn-content" data-phase={view.phase}>
      <Header state={state} canAct={isLive && state.cluster.canInvite} />
      {isLive ? null : <StaleBanner phase={view.phase} reason={view.reason} />}
      <InvitationBox />
      <Alerts state={state} />
      <JobSection job={state.job} />
      <ContributorsSection
        rows={state.contributors}
        workerCount={state.cluster.workerCount}
        payments={state.payments}
      />
      <PaymentsSection payments={state.payments} atMs={props.atMs} />
    </div>
  );
}

function ClusterView(props: { readonly model: ClusterModel }) {
  const { model } = props;
  const view = useStore({ get: model.view, subscribe: model.subscribe });
  if (view.replica === null) return <NotLive phase={view.phase} reason={view.reason} />;
  return (
    <>
      <Content view={view} state={view.replica.state} atMs={view.replica.atMs} />
      <SpokenSummary model={model} />
    </>
  );
}

function Subject() {
  const { registry } = useServices();
  const subject = useSubject(registry);
  switch (subject.kind) {
    case 'none':
      return <NoNotebook />;
    case 'starting':
      return <NoKernel />;
    case 'foreign':
      return <ForeignKernel kernelName={subject.kernelName} />;
    case 'cluster':
      return <ClusterView model={subject.model} />;
  }
}

export function ClusterPanel(props: { readonly services: PanelServices }) {
  return (
    <ServicesContext.Provider value={props.services}>
      <Subject />
    </ServicesContext.Provider>
  );
}
