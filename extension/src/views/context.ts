/** @file What every view of the panel needs, through React context. */
import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { TranslationBundle } from '@jupyterlab/translation';
import { createContext, useContext, useEffect, useState, useSyncExternalStore } from 'react';
import type { ClusterActions } from '../jupyter/clusterActions.js';
import type { PaymentActions } from '../jupyter/paymentActions.js';
import type { Store } from '../model/store.js';
import type { IClusterRegistry, PanelSubject } from '../tokens.js';

/** Live values of the settings that views use. */
export interface PanelSettings {
  /** Weight of the past in the drawn loss curve, in [0, 0.99]. */
  readonly lossSmoothing: number;
}

export interface PanelServices {
  readonly registry: IClusterRegistry;
  readonly actions: ClusterActions;
  readonly payments: PaymentActions;
  /** Notices that the user has read enough of. */
  readonly dismissed: Store<ReadonlySet<string>>;
  readonly commands: JupyterFrontEnd['commands'];
  readonly settings: Store<PanelSettings>;
  readonly trans: TranslationBundle;
}

export const ServicesContext = createContext<PanelServices | null>(null);

export function useServices(): PanelServices {
  const services = useContext(ServicesContext);
  if (services === null) throw new Error('panel views need a ServicesContext around them');
  return services;
}

export function useStore<T>(store: Pick<Store<T>, 'get' | 'subscribe'>): T {
  return useSyncExternalStore(store.subscribe, store.get);
}

export function useSubject(registry: IClusterRegistry): PanelSubject {
  const [subject, setSubject] = useState(registry.subject);
  useEffect(() => {
    const update = () => setSubject(registry.subject);
    update();
    registry.subjectChanged.connect(update);
    return () => {
      registry.subjectChanged.disconnect(update);
    };
  }, [registry]);
  return subject;
}
