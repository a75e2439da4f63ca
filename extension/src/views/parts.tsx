/** @file Small building blocks of the panel: section, metric, pill, icon button. No cluster knowledge. */
import type { LabIcon } from '@jupyterlab/ui-components';
import { caretDownIcon, caretRightIcon } from '@jupyterlab/ui-components';
import type { ReactNode } from 'react';
import { useId, useState } from 'react';
import type { StateLabel, Tone } from '../model/wording.js';
import { useServices } from './context.js';

export function Pill(props: { readonly label: StateLabel }) {
  const { trans } = useServices();
  return (
    <span className="rvn-pill" data-tone={props.label.tone}>
      {props.label.text(trans)}
    </span>
  );
}

/** A dot never stands alone: its text is there for those who do not see the colour. */
export function Dot(props: { readonly tone: Tone; readonly text: string }) {
  return (
    <span className="rvn-dot" data-tone={props.tone} title={props.text}>
      <span className="rvn-sr">{props.text}</span>
    </span>
  );
}

export function Metric(props: {
  readonly label: string;
  readonly value: string;
  readonly unit?: string;
}) {
  return (
    <div className="rvn-metric">
      <dt>{props.label}</dt>
      <dd>
        {props.value}
        {props.unit === undefined ? null : <small> {props.unit}</small>}
      </dd>
    </div>
  );
}

export function IconButton(props: {
  readonly icon: LabIcon;
  readonly title: string;
  readonly onClick: () => void;
  readonly className?: string;
}) {
  return (
    <button
      type="button"
      className={`rvn-iconButton ${props.className ?? ''}`}
      title={props.title}
      aria-label={props.title}
      onClick={props.onClick}
    >
      <props.icon.react tag="span" width="14px" height="14px" />
    </button>
  );
}

/** A collapsible part of the panel with its own heading. */
export function Section(props: {
  readonly title: string;
  readonly badge?: string;
  readonly actions?: ReactNode;
  readonly children: ReactNode;
}) {
  const [isOpen, setOpen] = useState(true);
  const bodyId = useId();
  const Caret = isOpen ? caretDownIcon : caretRightIcon;
  return (
    <section className="rvn-section" aria-label={props.title}>
      <header className="rvn-sectionHead">
        <h2>
          <button
            type="button"
            aria-expanded={isOpen}
            aria-controls={bodyId}
            onClick={() => setOpen(!isOpen)}
          >
            <Caret.react tag="span" width="16px" height="16px" />
            {props.title}
            {props.badge === undefined ? null : <span className="rvn-count">{props.badge}</span>}
          </button>
        </h2>
        {props.actions}
      </header>
      <div id={bodyId} className="rvn-sectionBody" hidden={!isOpen}>
        {isOpen ? props.children : null}
      </div>
    </section>
  );
}
