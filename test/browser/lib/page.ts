/** @file JupyterLab as a user sees it, through Chromium: notebooks, themes, the cluster panel, and what went wrong on the page. */
import { existsSync } from 'node:fs';
import type { Browser, ConsoleMessage, Page } from 'playwright-core';
import { chromium } from 'playwright-core';
import type { Lab } from './lab.js';

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** Files of ours on the page; errors of JupyterLab itself are not ours to count. */
const OUR_SOURCE = 'extensions/@ravenlab/';

const OUR_KERNEL = 'TypeScript (RavenLab)';

function chromiumPath(): string {
  const chosen = process.env['RAVENLAB_CHROMIUM'] ?? PLACES.find((path) => existsSync(path));
  if (chosen === undefined) {
    throw new Error('no Chromium found; install it or set RAVENLAB_CHROMIUM to its path');
  }
  return chosen;
}

export async function startBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: chromiumPath(), headless: true, args: FLAGS });
}

/** One row of the contributors table, as text. */
export interface PanelRow {
  readonly workerId: string;
  readonly state: string;
  readonly units: string;
  readonly earned: string;
}

function isOurs(message: ConsoleMessage): boolean {
  return message.location().url.includes(OUR_SOURCE) || /ravenlab/i.test(message.text());
}

/** A page with JupyterLab open. */
export class LabPage {
  readonly page: Page;
  /** Errors and warnings that our files wrote or caused. */
  readonly problems: string[] = [];
  /** Index of the cell that was run last. */
  private ranLast = 0;

  private constructor(page: Page) {
    this.page = page;
    page.on('console', (message) => {
      if (message.type() !== 'error' && message.type() !== 'warning') return;
      if (isOurs(message)) this.problems.push(`${message.type()}: ${message.text()}`);
    });
    page.on('pageerror', (error) => {
      if (error.stack?.includes(OUR_SOURCE) === true)
        this.problems.push(`exception: ${error.message}`);
    });
  }

  static async open(browser: Browser, lab: Lab): Promise<LabPage> {
    const context = await browser.newContext({
      viewport: { width: 1440, height: 900 },
      deviceScaleFactor: 1,
      permissions: ['clipboard-read', 'clipboard-write'],
    });
    const page = await context.newPage();
    const labPage = new LabPage(page);
    await page.goto(lab.url);
    await labPage.waitForLab();
    return labPage;
  }

  async waitForLab(): Promise<void> {
    await this.page.waitForSelector('#jupyterlab-splash', { state: 'detached', timeout: 60_000 });
    await this.page.waitForSelector('.jp-Launcher, .jp-NotebookPanel', { timeout: 60_000 });
  }

  /** Runs a JupyterLab command by the palette, which is how a user reaches any of them. */
  async command(label: string): Promise<void> {
    await this.page.keyboard.press('Control+Shift+C');
    const input = this.page.locator('.lm-CommandPalette-input');
    await input.waitFor();
    await input.fill(label);
    await this.page.locator('.lm-CommandPalette-item', { hasText: label }).first().click();
  }

  /** The notebook in front. */
  get notebook() {
    return this.page.locator('.jp-NotebookPanel:not(.lm-mod-hidden)');
  }

  /** From the launcher, as a user would. */
  async newNotebook(kernelDisplayName: string): Promise<void> {
    const launcher = this.page.locator('.jp-Launcher:not(.lm-mod-hidden)');
    if (!(await launcher.isVisible())) await this.command('New Launcher');
    const section = launcher.locator('.jp-Launcher-section', { hasText: 'Notebook' }).first();
    await section.locator('.jp-LauncherCard', { hasText: kernelDisplayName }).click();
    await this.notebook.locator('.jp-Cell').first().waitFor();
    await this.waitForSession(kernelDisplayName);
  }

  /** What is run before the session is there, JupyterLab drops; its status bar says when it is. */
  async waitForSession(kernelDisplayName = OUR_KERNEL): Promise<void> {
    const statusBar = this.page.locator('#jp-main-statusbar');
    await statusBar.getByText(`${kernelDisplayName} | Idle`).waitFor();
  }

  async closeNotebook(): Promise<void> {
    await this.command('Close and Shut Down Notebook');
    await this.confirm();
  }

  /** Types into the last cell and runs it; resolves when the kernel has it. */
  async runCell(source: string): Promise<void> {
    const cell = this.notebook.locator('.jp-CodeCell').last();
    await cell.locator('.cm-content').click();
    await this.page.keyboard.press('Control+A');
    await this.page.keyboard.insertText(source);
    const index = (await this.notebook.locator('.jp-CodeCell').count()) - 1;
    this.ranLast = index;
    const prompt = this.notebook.locator('.jp-CodeCell').nth(index).locator('.jp-InputPrompt');
    const ran = prompt.filter({ hasText: /\[(\*|\d+)\]/ }).waitFor();
    await this.page.keyboard.press('Shift+Enter');
    await ran;
  }

  async waitForKernel(status: 'idle' | 'busy', timeoutMs = 30_000): Promise<void> {
    await this.notebook
      .locator(`.jp-Notebook-ExecutionIndicator[data-status="${status}"]`)
      .waitFor({ timeout: timeoutMs, state: 'attached' });
  }

  async interrupt(): Promise<void> {
    await this.toolbar('notebook:interrupt-kernel');
  }

  async restartKernel(): Promise<void> {
    await this.toolbar('notebook:restart-kernel');
    await this.confirm();
  }

  private async toolbar(command: string): Promise<void> {
    await this.notebook.locator(`[data-command="${command}"]`).first().click();
  }

  /** Accepts the dialog that a command asks its question with. */
  private async confirm(): Promise<void> {
    const accept = this.page.locator('.jp-Dialog .jp-mod-accept');
    await accept.click();
    await this.page.locator('.jp-Dialog').waitFor({ state: 'detached' });
  }

  async openNotebook(name: string): Promise<void> {
    const { page } = this;
    await page.locator('.jp-DirListing-item', { hasText: name }).first().dblclick();
    await page.locator(`.jp-NotebookPanel:not(.lm-mod-hidden)`).waitFor();
    await page.locator('.jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell').first().waitFor();
  }

  async setTheme(name: string): Promise<void> {
    await this.page.getByText('Settings', { exact: true }).first().click();
    await this.page.getByText('Theme', { exact: true }).hover();
    await this.page.getByText(name, { exact: true }).click();
    await this.page.waitForSelector(`body[data-jp-theme-name="${name}"]`, { state: 'attached' });
  }

  get panel() {
    return this.page.locator('#ravenlab-panel');
  }

  /** Text of the marked value of the panel: `epoch`, `step`, `loss`, `total`. */
  async value(name: string): Promise<string> {
    return (await this.panel.locator(`[data-rvn="${name}"]`).first().textContent()) ?? '';
  }

  async rows(): Promise<readonly PanelRow[]> {
    return this.panel.locator('.rvn-contributors tr[data-worker]').evaluateAll((rows) =>
      rows.map((row) => {
        const text = (key: string) => row.querySelector(`[data-rvn="${key}"]`)?.textContent ?? '';
        return {
          workerId: row.getAttribute('data-worker') ?? '',
          state: row.getAttribute('data-state') ?? '',
          units: text('units'),
          earned: text('earned'),
        };
      }),
    );
  }

  /** The metered total in whole coins, whatever unit it is shown in. */
  async metered(): Promise<number> {
    const text = (await this.panel.locator('.rvn-total').textContent()) ?? '';
    const [, digits = '0', prefix = ''] = /([\d,.]+)\s*([mµnp]?)[A-Z]/.exec(text) ?? [];
    const powers: Readonly<Record<string, number>> = { m: -3, µ: -6, n: -9, p: -12 };
    return Number(digits.replaceAll(',', '')) * 10 ** (powers[prefix] ?? 0);
  }

  /**
   * Result of the cell that was run last, once it is there. Not the notebook's last one: that is an earlier cell's for as long as this
   * one runs, and the kernel may still look idle when it has just been given the cell.
   */
  async result(limitMs = 30_000): Promise<string> {
    const cell = this.notebook.locator('.jp-CodeCell').nth(this.ranLast);
    const output = cell.locator('.jp-OutputArea-executeResult .jp-OutputArea-output');
    try {
      await output.waitFor({ timeout: limitMs });
    } catch (cause) {
      const shown = (await cell.innerText()).replaceAll('\n', ' · ');
      throw new Error(`no result within ${limitMs / 1000} s; the cell shows: ${shown}`, { cause });
    }
    return (await output.textContent())?.trim() ?? '';
  }

  /** Polls what the page shows; a state that never comes is named in the error. */
  async until(what: string, limitMs: number, isTrue: () => Promise<boolean>): Promise<void> {
    const deadline = performance.now() + limitMs;
    while (!(await isTrue())) {
      if (performance.now() > deadline) {
        const shown = (await this.panel.innerText()).replaceAll('\n', ' · ');
        throw new Error(`${what}: not within ${limitMs / 1000} s; the panel shows: ${shown}`);
      }
      await this.page.waitForTimeout(100);
    }
  }

  async screenshot(path: string): Promise<void> {
    // The pointer would leave a hover mark somewhere.
    await this.page.mouse.move(0, 0);
    await this.page.screenshot({ path });
  }
}
