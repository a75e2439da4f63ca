/** @file What the panel says when it has no cluster to show: always why, and what to do. */
import type { ReactNode } from 'react';
import { logoIcon } from '../icons.js';
import type { Phase } from '../model/clusterModel.js';
import type { Translate } from '../model/wording.js';
import { CommandIds } from '../tokens.js';
import { useServices } from './context.js';

interface EmptyProps {
  /** For tests and style: which state this is. */
  readonly name: string;
  readonly title: string;
  readonly text: string;
  readonly children?: ReactNode;
}

function Empty(props: EmptyProps) {
  return (
    <div className="rvn-empty" data-empty={props.name} role="status">
      <logoIcon.react tag="span" width="56px" height="56px" aria-hidden="true" />
      <h2>{props.title}</h2>
      <p>{props.text}</p>
      {props.children}
    </div>
  );
}

function CommandButton(props: {
  readonly command: string;
  readonly label: string;
  readonly isPrimary?: boolean;
}) {
  const { commands } = useServices();
  if (!commands.hasCommand(props.command)) return null;
  return (
    <button
      type="button"
      className={`rvn-button ${props.isPrimary === true ? 'rvn-primary' : ''}`}
      onClick={() => void commands.execute(props.command)}
    >
      {props.label}
    </button>
  );
}

export function NoNotebook() {
  const { trans } = useServices();
  return (
    <Empty
      name="none"
      title={trans.__('No notebook in use')}
      text={trans.__('Workers, training and payments of a RavenLab notebook appear here.')}
    >
      <CommandButton
        command={CommandIds.quickstart}
        label={trans.__('Open the quickstart')}
        isPrimary
      />
      <CommandButton command={CommandIds.newNotebook} label={trans.__('New notebook')} />
    </Empty>
  );
}

export function ForeignKernel(props: { readonly kernelName: string }) {
  const { trans } = useServices();
  return (
    <Empty
      name="foreign"
      title={trans.__('Another kernel')}
      text={trans.__(
        'This document runs on %1, which has no cluster. Switch it to TypeScript (RavenLab) to see one.',
        props.kernelName,
      )}
    >
      <CommandButton
        command="notebook:change-kernel"
        label={trans.__('Change kernel…')}
        isPrimary
      />
    </Empty>
  );
}

export function NoKernel() {
  const { trans } = useServices();
  return (
    <Empty
      name="starting"
      title={trans.__('Waiting for a kernel')}
      text={trans.__('The panel connects as soon as this document has a kernel.')}
    />
  );
}

const PHASE_TITLES: Readonly<Record<Phase, (trans: Translate) => string>> = {
  connecting: (trans) => trans.__('Connecting'),
  live: (trans) => trans.__('Connected'),
  offline: (trans) => trans.__('Not connected'),
  refused: (trans) => trans.__('The kernel refused the panel'),
};

/** Before the first snapshot there is nothing old to show. */
export function NotLive(props: { readonly phase: Phase; readonly reason: string | null }) {
  const { trans } = useServices();
  return (
    <Empty
      name={props.phase}
      title={PHASE_TITLES[props.phase](trans)}
      text={props.reason ?? trans.__('Asking the kernel about its cluster…')}
    />
  );
}

/** Above old data: says that it is old, and why. */
export function StaleBanner(props: { readonly phase: Phase; readonly reason: string | null }) {
  const { trans } = useServices();
  return (
    <p className="rvn-banner" data-tone={props.phase === 'refused' ? 'bad' : 'warn'} role="status">
      <b>{PHASE_TITLES[props.phase](trans)}</b>{' '}
      {props.reason ?? trans.__('Last known values below.')}
    </p>
  );
}
