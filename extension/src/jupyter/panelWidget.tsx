/** @file The panel as a JupyterLab side panel: tells the registry when it can be seen. */
import { ReactWidget, SidePanel } from '@jupyterlab/ui-components';
import { Panel } from '@lumino/widgets';
import { ravenIcon } from '../icons.js';
import { PANEL_ID } from '../tokens.js';
import { ClusterPanel } from '../views/clusterPanel.js';
import type { PanelServices } from '../views/context.js';

export class ClusterSidePanel extends SidePanel {
  private readonly services: PanelServices;
  private readonly onVisibility = () => this.report();

  constructor(services: PanelServices) {
    super({ content: new Panel() });
    this.services = services;
    this.id = PANEL_ID;
    this.title.icon = ravenIcon;
    this.title.caption = services.trans.__('RavenLab cluster');
    this.addClass('rvn-panel');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', services.trans.__('RavenLab cluster'));
    const body = ReactWidget.create(<ClusterPanel services={services} />);
    body.addClass('rvn-body');
    this.content.addWidget(body);
    document.addEventListener('visibilitychange', this.onVisibility);
  }

  override dispose(): void {
    document.removeEventListener('visibilitychange', this.onVisibility);
    super.dispose();
  }

  protected override onAfterShow(): void {
    this.report();
  }

  protected override onAfterHide(): void {
    this.report();
  }

  protected override onAfterAttach(): void {
    this.report();
  }

  private report(): void {
    const isSeen = this.isVisible && document.visibilityState === 'visible';
    this.services.registry.setPanelVisible(isSeen);
  }
}
