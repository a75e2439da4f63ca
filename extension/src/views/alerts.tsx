/** @file Notices of the kernel: kept until newer ones push them out or they are so no more; a reader may have had enough earlier. */
import { closeIcon } from '@jupyterlab/ui-components';
import type { Alert, PanelState } from '@ravenlab/protocol';
import { useServices, useStore } from './context.js';
import { IconButton } from './parts.js';

/** Of all kernels of this page. */
const MAX_DISMISSED = 1_000;

export function Alerts(props: { readonly state: PanelState }) {
  const { dismissed, trans } = useServices();
  const read = useStore(dismissed);
  const { alerts, cluster } = props.state;
  // Another engine counts its alerts from the beginning.
  const keyOf = (alert: Alert) => `${cluster.engineId ?? ''} ${alert.alertId}`;
  const shown = alerts.filter((alert) => !read.has(keyOf(alert)));
  const dismiss = (gone: readonly Alert[]) => {
    dismissed.set(new Set([...read, ...gone.map(keyOf)].slice(-MAX_DISMISSED)));
  };
  return (
    <>
      <ul className="rvn-alerts" aria-label={trans.__('Notices')} aria-live="polite">
        {shown.map((alert) => (
          <li key={keyOf(alert)} data-tone={alert.level === 'error' ? 'bad' : alert.level}>
            <span>{alert.text}</span>
            <time dateTime={new Date(alert.atMs).toISOString()}>
              {new Date(alert.atMs).toLocaleTimeString([], { timeStyle: 'short' })}
            </time>
            <IconButton
              icon={closeIcon}
              title={trans.__('Dismiss this notice')}
              onClick={() => dismiss([alert])}
            />
          </li>
        ))}
      </ul>
      {shown.length > 1 ? (
        <button type="button" className="rvn-button rvn-dismissAll" onClick={() => dismiss(shown)}>
          {trans.__('Dismiss all %1 notices', shown.length)}
        </button>
      ) : null}
    </>
  );
}
