/** @file Plugin: the side panel, its commands, the status bar item and the settings they share. */
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ILabShell, ILayoutRestorer } from '@jupyterlab/application';
import { ICommandPalette, InputDialog } from '@jupyterlab/apputils';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { Signal } from '@lumino/signaling';
import { PANEL_LIMITS } from '@ravenlab/protocol';
import { ravenIcon } from '../icons.js';
import { ClusterActions } from '../jupyter/clusterActions.js';
import { PaymentActions } from '../jupyter/paymentActions.js';
import { ClusterSidePanel } from '../jupyter/panelWidget.js';
import { createStatusWidget } from '../jupyter/statusWidget.js';
import { Store } from '../model/store.js';
import { CommandIds, IClusterRegistry, PANEL_ID, TRANSLATION_DOMAIN } from '../tokens.js';
import type { PanelServices, PanelSettings } from '../views/context.js';

const PANEL_PLUGIN_ID = '@ravenlab/extension:panel';

const WORKER_ARGS = {
  args: {
    type: 'object',
    properties: { workerId: { type: 'string', description: 'Id of the worker' } },
    required: ['workerId'],
  },
} as const;

const NO_ARGS = { args: { type: 'object', properties: {} } } as const;

function workerIdIn(args: Readonly<Record<string, unknown>>): string {
  const { workerId } = args;
  if (typeof workerId === 'string') return workerId;
  throw new Error(`expected the argument workerId, a string, got ${typeof workerId}`);
}

async function askWorkers(services: PanelServices): Promise<number | null> {
  const { subject } = services.registry;
  const { trans } = services;
  const now =
    subject.kind === 'cluster'
      ? subject.model.view().replica?.state.contributors.filter((row) => row.local).length
      : undefined;
  const { value } = await InputDialog.getNumber({
    title: trans.__('Workers on this computer'),
    label: trans.__('How many (0 to %1)', PANEL_LIMITS.workersPerScale),
    value: now ?? 2,
  });
  if (value === null) return null;
  return Math.min(PANEL_LIMITS.workersPerScale, Math.max(0, Math.round(value)));
}

function addCommands(app: JupyterFrontEnd, services: PanelServices): void {
  const { actions, trans } = services;
  const { commands } = app;
  commands.addCommand(CommandIds.openPanel, {
    label: trans.__('Show the Cluster Panel'),
    icon: ravenIcon,
    describedBy: NO_ARGS,
    execute: () => app.shell.activateById(PANEL_ID),
  });
  commands.addCommand(CommandIds.invite, {
    label: trans.__('Invite a Contributor'),
    caption: trans.__('Copy the command that joins another machine'),
    describedBy: NO_ARGS,
    isEnabled: () => actions.isReady,
    execute: async () => {
      app.shell.activateById(PANEL_ID);
      await actions.invite();
    },
  });
  commands.addCommand(CommandIds.stopRun, {
    label: trans.__('Stop the Run'),
    caption: trans.__('Stop training; variables and weights stay'),
    describedBy: NO_ARGS,
    isEnabled: () => actions.isReady && actions.hasRun,
    execute: () => actions.stopRun(),
  });
  commands.addCommand(CommandIds.scale, {
    label: trans.__('Set the Number of Local Workers…'),
    describedBy: NO_ARGS,
    isEnabled: () => actions.isReady,
    execute: async () => {
      const workers = await askWorkers(services);
      if (workers !== null) await actions.scale(workers);
    },
  });
  const workerCommands = [
    [CommandIds.drain, trans.__('Give a Worker no more Work'), (id: string) => actions.drain(id)],
    [CommandIds.pause, trans.__('Stop a Worker at once'), (id: string) => actions.pause(id)],
    [CommandIds.resume, trans.__('Give a Worker Work again'), (id: string) => actions.resume(id)],
    [CommandIds.ban, trans.__('Ban a Worker…'), (id: string) => actions.ban(id)],
  ] as const;
  for (const [id, label, act] of workerCommands) {
    commands.addCommand(id, {
      label,
      describedBy: WORKER_ARGS,
      isEnabled: () => actions.isReady,
      execute: (args) => act(workerIdIn(args)),
    });
  }
}

function addPaymentCommands(
  app: JupyterFrontEnd,
  { actions, payments, trans }: PanelServices,
): void {
  const hasJob = () => actions.isReady && payments.hasChain;
  const rows = [
    [CommandIds.deposit, trans.__('Deposit for Contributors…'), hasJob, () => payments.deposit()],
    [
      CommandIds.settle,
      trans.__('Settle with Contributors Now'),
      () => hasJob() && payments.canSettle,
      () => payments.settle(),
    ],
    [CommandIds.extend, trans.__('Extend the Paid Job…'), hasJob, () => payments.extend()],
    [CommandIds.limits, trans.__('Set Spending Limits…'), hasJob, () => payments.setLimits()],
    [CommandIds.refund, trans.__('Take back the Deposit…'), hasJob, () => payments.refund()],
    [
      CommandIds.exportLedger,
      trans.__('Export the Ledger…'),
      hasJob,
      () => payments.exportLedger(),
    ],
  ] as const;
  for (const [id, label, isEnabled, execute] of rows) {
    app.commands.addCommand(id, { label, describedBy: NO_ARGS, isEnabled, execute });
  }
}

/** Opens the panel the first time a RavenLab kernel is in use, once a page load, if the user wants that. */
function revealOnce(app: JupyterFrontEnd, registry: IClusterRegistry): void {
  const reveal = () => {
    if (registry.subject.kind !== 'cluster') return;
    registry.subjectChanged.disconnect(reveal);
    app.shell.activateById(PANEL_ID);
  };
  registry.subjectChanged.connect(reveal);
  reveal();
}

async function followSettings(
  app: JupyterFrontEnd,
  settingRegistry: ISettingRegistry,
  services: Omit<PanelServices, 'settings'> & { readonly settings: Store<PanelSettings> },
): Promise<void> {
  const settings = await settingRegistry.load(PANEL_PLUGIN_ID);
  // The schema gives every value a type, bounds and a default, so `composite` holds them.
  const update = () => {
    services.registry.setMaxHz(settings.get('maxHz').composite as number);
    services.settings.set({ lossSmoothing: settings.get('lossSmoothing').composite as number });
  };
  settings.changed.connect(update);
  update();
  if (settings.get('openPanel').composite === true) revealOnce(app, services.registry);
}

export const panelPlugin: JupyterFrontEndPlugin<void> = {
  id: PANEL_PLUGIN_ID,
  description: 'Contributors, job and payments of a RavenLab cluster beside the notebook.',
  autoStart: true,
  requires: [IClusterRegistry],
  optional: [
    ILabShell,
    ILayoutRestorer,
    ISettingRegistry,
    IStatusBar,
    ICommandPalette,
    ITranslator,
  ],
  activate: (
    app,
    registry: IClusterRegistry,
    labShell: ILabShell | null,
    restorer: ILayoutRestorer | null,
    settingRegistry: ISettingRegistry | null,
    statusBar: IStatusBar | null,
    palette: ICommandPalette | null,
    translator: ITranslator | null,
  ) => {
    const trans = (translator ?? nullTranslator).load(TRANSLATION_DOMAIN);
    const services = {
      registry,
      actions: new ClusterActions(registry, trans),
      payments: new PaymentActions(registry, trans),
      dismissed: new Store<ReadonlySet<string>>(new Set()),
      commands: app.commands,
      settings: new Store<PanelSettings>({ lossSmoothing: 0.6 }),
      trans,
    };
    const panel = new ClusterSidePanel(services);
    app.shell.add(panel, 'right', { rank: 100, type: 'RavenLab' });
    restorer?.add(panel, PANEL_ID);
    addCommands(app, services);
    addPaymentCommands(app, services);
    for (const command of [
      CommandIds.openPanel,
      CommandIds.invite,
      CommandIds.stopRun,
      CommandIds.scale,
      CommandIds.deposit,
      CommandIds.settle,
      CommandIds.extend,
      CommandIds.limits,
      CommandIds.refund,
      CommandIds.exportLedger,
    ]) {
      palette?.addItem({ command, category: 'RavenLab' });
    }
    if (labShell !== null && statusBar !== null) {
      const activeChanged = new Signal<IClusterRegistry, void>(registry);
      registry.subjectChanged.connect(() => activeChanged.emit());
      statusBar.registerStatusItem(PANEL_PLUGIN_ID, {
        item: createStatusWidget(services),
        align: 'left',
        rank: 10,
        isActive: () => registry.subject.kind === 'cluster',
        activeStateChanged: activeChanged,
      });
    }
    if (settingRegistry !== null) {
      void app.restored
        .then(() => followSettings(app, settingRegistry, services))
        .catch((error: unknown) => {
          // eslint-disable-next-line no-console -- JupyterLab has no other log for a plugin's start
          console.error('RavenLab: the settings could not be read, defaults apply:', error);
        });
    }
  },
};
