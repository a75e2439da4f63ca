/**
 * @file The panel on states that no quick run produces, in a real JupyterLab over the real protocol: a paid job, every state of a
 * worker at once, hundreds of rows, a wallet in the browser. The cluster is written by the test (stagedKernel.mjs).
 */
import { readFileSync } from 'node:fs';
import type { Browser } from 'playwright-core';
import type { Contributor, PanelState, PaymentsSummary } from '@ravenlab/protocol';
import { CONTRIBUTOR_STATES } from '@ravenlab/protocol';
import { BUSY_STATE, CHAIN, contributorOf, payeeOf, txOf } from '../unit/panel/lib.js';
import type { Lab } from './lib/lab.js';
import { startLab } from './lib/lab.js';
import { LabPage, startBrowser } from './lib/page.js';

const coins = (amount: number) => String(BigInt(Math.round(amount * 1e6)) * 10n ** 12n);
const address = (digit: string) => `0x${digit.repeat(40)}` as typeof CHAIN.payer;
const DAY_MS = 86_400_000;

const PAID: PaymentsSummary = {
  ...BUSY_STATE.payments,
  currency: 'RVN',
  settlement: 'ready',
  chain: CHAIN,
  totalMetered: coins(4.25),
  balance: { deposit: coins(100), free: coins(70), reserved: coins(28), paid: coins(2) },
  totals: { held: coins(0.25), vouchered: coins(3), settled: coins(2) },
  burnPerHour: coins(1.5),
  timeToEmptyMs: 2 * DAY_MS,
  expiryMs: Date.now() + 6 * DAY_MS,
  payees: [
    payeeOf('w-alpha', coins(3.25), {
      name: 'Lab 3, by the window in the corner',
      address: address('1'),
      held: coins(0.25),
      vouchered: coins(3),
      settled: coins(2),
      cap: coins(20),
    }),
    payeeOf('w-beta', coins(1)),
  ],
  transactions: [
    txOf(3, { kind: 'settle', state: 'sent', amount: coins(1), atMs: Date.now() }),
    txOf(2, { kind: 'reserve', state: 'confirmed', amount: coins(28), block: 9, atMs: Date.now() }),
    txOf(1, { kind: 'topUp', state: 'reverted', amount: coins(5), note: 'InsufficientFree' }),
  ],
};

const ROWS: readonly Contributor[] = CONTRIBUTOR_STATES.map((state, index) =>
  contributorOf(`w-${state}`, {
    name: `${state} machine with a long name`,
    state,
    local: index % 2 === 0,
    unitsFailed: state === 'quarantined' ? 3 : 0,
    earnedUnits: coins(index / 8),
  }),
);

const STATE: PanelState = { ...BUSY_STATE, contributors: ROWS, payments: PAID };

let lab: Lab;
let browser: Browser;
let page: LabPage;

beforeAll(async () => {
  [lab, browser] = await Promise.all([startLab({ isStaged: true }), startBrowser()]);
  lab.stage.show(STATE);
  page = await LabPage.open(browser, lab);
  await page.command('Show the Cluster Panel');
  await page.newNotebook('TypeScript (RavenLab)');
  await page.panel.locator('.rvn-content[data-phase="live"]').waitFor();
});

afterAll(async () => {
  await browser.close();
  await lab.stop();
});

/** What the panel shows next; resolves when it does. */
async function show(state: PanelState): Promise<void> {
  const seen = `seen-${String(++shown)}`;
  const alert = { alertId: seen, level: 'info', text: seen, atMs: Date.now() } as const;
  lab.stage.show({ ...state, alerts: [...state.alerts, alert] });
  await page.panel.getByText(seen, { exact: true }).waitFor();
}
let shown = 0;

const lastCommand = () => lab.stage.commands().at(-1);
const payments = () => page.panel.getByRole('region', { name: 'Payments' });
const dialog = () => page.page.locator('.jp-Dialog');

test('the actions of a row cover neither its name nor its numbers, in any state', async () => {
  await show(STATE);
  for (const { workerId } of ROWS) {
    const row = page.panel.locator(`tr[data-worker="${workerId}"]`);
    await row.scrollIntoViewIfNeeded();
    await row.hover();
    const overlap = await row.evaluate((element) => {
      const boxOf = (part: Element) => {
        const range = document.createRange();
        range.selectNodeContents(part);
        return range.getBoundingClientRect();
      };
      const actions = element.querySelector('.rvn-rowActions')!.getBoundingClientRect();
      const texts = Array.from(element.querySelectorAll('b, .rvn-what, td, .rvn-failed'));
      return texts
        .filter((text) => {
          const box = boxOf(text);
          const visibleRight = Math.min(box.right, text.getBoundingClientRect().right);
          // A line's box is taller than its letters.
          return (
            visibleRight > actions.left && box.left < actions.right && box.bottom - 3 > actions.top
          );
        })
        .map((text) => text.textContent);
    });
    expect([workerId, overlap]).toEqual([workerId, []]);
  }
});

test('states are named in words, and failures beside them', async () => {
  const row = (state: string) => page.panel.locator(`tr[data-state="${state}"]`).innerText();
  expect(await row('joining')).toContain('Ready, new · onnx-cpu');
  expect(await row('quarantined')).toContain('Waiting after failures');
  expect(await row('quarantined')).toContain('3 failed');
  expect(await row('draining')).toContain('Finishing');
});

test('a notice that is resolved goes by itself; the rest goes at once', async () => {
  const notices = page.panel.getByRole('list', { name: 'Notices' });
  const waits = { alertId: 'w', level: 'warning', text: 'the cell waits', atMs: 1 } as const;
  await show({ ...STATE, alerts: [...STATE.alerts, waits] });
  await notices.getByText('the cell waits').waitFor();
  await show(STATE);
  expect(await notices.getByText('the cell waits').count()).toBe(0);
  await page.panel.getByRole('button', { name: /^Dismiss all/ }).click();
  expect(await notices.getByRole('listitem').count()).toBe(0);
});

test('the account names its chain, what is left and how long it lasts', async () => {
  await payments().scrollIntoViewIfNeeded();
  const value = (name: string) => payments().locator(`[data-rvn="${name}"]`).first().textContent();
  expect(await value('chain')).toContain('coins are worth nothing');
  expect(await Promise.all(['paid', 'reserved', 'free', 'burn', 'empty'].map(value))).toEqual([
    '2.000 RVN',
    '28.000 RVN',
    '70.000 RVN',
    '1.500 RVN',
    '2 d 0 h',
  ]);
  const lane = payments().locator('tr[data-worker="w-alpha"] td');
  expect(await lane.allTextContents()).toEqual(['3.250', '0.250', '3.000', '2.000']);
  const unpaid = payments().locator('tr[data-worker="w-beta"] td');
  expect(await unpaid.allTextContents()).toEqual(['1.000', '–', '–', '–']);
  await payments().locator('[data-tx="topUp"]').getByText('InsufficientFree').waitFor();
  await payments().getByRole('button', { name: 'Copy the address: Escrow' }).click();
  const copied = await page.page.evaluate(() => navigator.clipboard.readText());
  expect(copied).toBe(CHAIN.escrow);
});

test('by keyboard alone coins are deposited, after chain and escrow were read', async () => {
  lab.stage.answer({ deposit: { transaction: 4 } });
  await payments().getByRole('button', { name: 'Deposit…' }).press('Enter');
  await dialog().getByText(CHAIN.escrow).waitFor();
  await dialog().getByText('simulated chain (31337)').waitFor();
  await page.page.keyboard.type('2.5');
  await page.page.keyboard.press('Enter');
  await page.page.getByText('on its way, see Transactions').waitFor();
  expect(lastCommand()).toEqual({ op: 'deposit', args: { amount: coins(2.5) } });
});

test('what is no amount is refused with how to write one, and nothing is asked of the engine', async () => {
  const before = lab.stage.commands().length;
  await payments().getByRole('button', { name: 'Deposit…' }).click();
  await page.page.keyboard.type('1,5');
  await page.page.keyboard.press('Enter');
  await page.page.getByText('"1,5" is no amount; write it like 12.5').waitFor();
  expect(lab.stage.commands()).toHaveLength(before);
});

test('a refund asks, and Enter alone takes nothing back', async () => {
  const before = lab.stage.commands().length;
  await payments().getByRole('button', { name: 'Refund…' }).press('Enter');
  await dialog().getByText('70.000000 RVN that are free').waitFor();
  await page.page.keyboard.press('Enter');
  await dialog().waitFor({ state: 'detached' });
  expect(lab.stage.commands()).toHaveLength(before);
  lab.stage.answer({ refund: { transaction: 5 } });
  await payments().getByRole('button', { name: 'Refund…' }).press('Enter');
  await dialog().getByRole('button', { name: 'Refund' }).click();
  await page.until('the refund', 5_000, () => Promise.resolve(lastCommand()?.op === 'refund'));
});

test('limits are read, changed and cleared', async () => {
  await show({ ...STATE, payments: { ...PAID, limits: { ...PAID.limits, perHour: coins(1.5) } } });
  lab.stage.answer({ setLimits: { perLane: coins(20), perHour: null, perRun: null } });
  await payments().getByRole('button', { name: 'Limits…' }).click();
  const hour = dialog().getByLabel('In an hour (RVN)');
  expect(await hour.inputValue()).toBe('1.5');
  await hour.fill('');
  await dialog().getByLabel('For one contributor').fill('20');
  await dialog().getByRole('button', { name: 'Set limits' }).click();
  await page.until('the limits', 5_000, () => Promise.resolve(lastCommand()?.op === 'setLimits'));
  expect(lastCommand()?.args).toEqual({ perLane: coins(20), perHour: null, perRun: null });
});

test('the ledger is a file that the browser saves', async () => {
  lab.stage.answer({ exportLedger: { text: 'n,job,payee\n1,a,b\n', cursor: null } });
  await payments().getByRole('button', { name: 'Export…' }).click();
  const [download] = await Promise.all([
    page.page.waitForEvent('download'),
    dialog().getByRole('button', { name: 'Export' }).click(),
  ]);
  expect(download.suggestedFilename()).toMatch(/^ravenlab-ledger-\d{4}-\d\d-\d\d\.csv$/);
  expect(readFileSync(await download.path(), 'utf8')).toBe('n,job,payee\n1,a,b\n');
});

test('without the payer key a wallet of the browser is found, named, and asked for the right calls', async () => {
  const real = { ...CHAIN, label: 'Base', chainId: 8453, isSimulated: false, isPayerHere: false };
  await show({ ...STATE, payments: { ...PAID, chain: { ...real, explorerUrl: EXPLORER } } });
  expect(await payments().getByRole('button', { name: 'Settle now' }).isDisabled()).toBe(true);
  const link = payments().locator('[data-tx="reserve"] a');
  expect(await link.getAttribute('href')).toBe(`https://scan.example/tx/0x${'2'.repeat(64)}`);
  expect(await link.getAttribute('rel')).toBe('noopener noreferrer');

  await payments().getByRole('button', { name: 'Deposit…' }).click();
  await dialog().getByText('this browser has no wallet').waitFor();
  await page.page.keyboard.press('Enter');
  await dialog().waitFor({ state: 'detached' });

  await page.page.evaluate(announceWallet, { payer: real.payer, token: real.token });
  await payments().getByRole('button', { name: 'Deposit…' }).click();
  await dialog().getByText('Base (8453)').waitFor();
  await dialog().getByText('Test wallet will ask you to sign').waitFor();
  await page.page.keyboard.type('3');
  await page.page.keyboard.press('Enter');
  await page.page.getByText('Deposit: in a block').waitFor();
  const sent = await page.page.evaluate(
    () => (window as unknown as { sent: { to: string; data: string }[] }).sent,
  );
  expect(sent.map(({ to, data }) => [to, data.slice(0, 10)])).toEqual([
    [real.token, '0x095ea7b3'],
    [real.escrow, '0xd99b7c90'],
  ]);
});

const EXPLORER = 'https://scan.example/tx/{hash}';

/** Runs in the page: a wallet that says yes, with the job as the escrow would tell it. */
function announceWallet({
  payer,
  token,
}: {
  readonly payer: string;
  readonly token: string;
}): void {
  const wordOf = (value: string) => value.slice(2).padStart(64, '0');
  const job = `0x${[payer, '0x7fffffff', payer, token, '0x0', '0x0'].map(wordOf).join('')}`;
  const sent: unknown[] = [];
  Object.assign(window, { sent });
  const answers: Readonly<Record<string, (params: readonly unknown[]) => unknown>> = {
    eth_requestAccounts: () => [payer],
    eth_chainId: () => '0x2105',
    eth_call: ([call]) =>
      (call as { readonly data: string }).data.startsWith('0x38ed7cfc')
        ? job
        : `0x${'0'.repeat(64)}`,
    eth_sendTransaction: ([call]) => {
      sent.push(call);
      return `0x${'c'.repeat(64)}`;
    },
    eth_getTransactionReceipt: () => ({ status: '0x1' }),
  };
  const provider = {
    request: ({ method, params = [] }: { method: string; params?: readonly unknown[] }) =>
      Promise.resolve(answers[method]?.(params)),
  };
  window.addEventListener('eip6963:requestProvider', () => {
    const detail = { info: { uuid: 'u', name: 'Test wallet', rdns: 'x', icon: '' }, provider };
    window.dispatchEvent(new CustomEvent('eip6963:announceProvider', { detail }));
  });
}

test('a chain in trouble says what is wrong, and work is metered on', async () => {
  const problem = 'the chain at 127.0.0.1:8545 does not answer; it is tried again every 10 s';
  await show({ ...STATE, payments: { ...PAID, settlement: 'problem', problem } });
  await payments().getByText(problem).waitFor();
  await payments().locator('.rvn-pill', { hasText: 'Chain problem' }).waitFor();
});

test.each(['JupyterLab Light', 'JupyterLab Dark', 'JupyterLab Dark High Contrast'])(
  'axe finds nothing to mend in the panel: %s',
  async (theme) => {
    await show(STATE);
    await page.setTheme(theme);
    await page.page.addScriptTag({ path: require.resolve('axe-core/axe.min.js') });
    const found = await page.page.evaluate(async (): Promise<string[]> => {
      const { axe } = window as unknown as {
        readonly axe: {
          run(
            root: object,
            options: object,
          ): Promise<{
            violations: { id: string; nodes: { html: string; failureSummary: string }[] }[];
          }>;
        };
      };
      const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'];
      const root = { include: [['#ravenlab-panel'], ['.rvn-status']] };
      const { violations } = await axe.run(root, { runOnly: { type: 'tag', values: tags } });
      return violations.flatMap(({ id, nodes }) =>
        nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 120)} ${failureSummary}`),
      );
    });
    expect(found).toEqual([]);
  },
);

/** What the page's main thread does while so many rows change four times a second, a tenth of them each time; seconds. */
async function busySeconds(
  rows: number,
): Promise<{ readonly taskS: number; readonly longestMs: number }> {
  const crowd = (turn: number): PanelState => ({
    ...STATE,
    contributors: Array.from({ length: rows }, (_, index) => {
      const changed = index % 10 === turn % 10 ? turn : 0;
      const changes = { unitsDone: 100 + changed, samplesPerSecond: 800 + changed };
      return contributorOf(`crowd-${String(index)}`, changes);
    }),
  });
  await show(crowd(0));
  const devTools = await page.page.context().newCDPSession(page.page);
  await devTools.send('Performance.enable');
  const taskS = async () => {
    const { metrics } = await devTools.send('Performance.getMetrics');
    return metrics.find(({ name }) => name === 'TaskDuration')?.value ?? NaN;
  };
  await page.page.evaluate(() => {
    const tasks: number[] = [];
    Object.assign(window, { tasks });
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) tasks.push(duration);
    }).observe({ entryTypes: ['longtask'] });
  });
  const before = await taskS();
  for (let turn = 1; turn <= 16; turn++) {
    lab.stage.show(crowd(turn));
    await page.page.waitForTimeout(250);
  }
  const busy = (await taskS()) - before;
  const tasks = await page.page.evaluate(() => (window as unknown as { tasks: number[] }).tasks);
  await devTools.detach();
  return { taskS: busy, longestMs: Math.max(0, ...tasks) };
}

test('500 workers cost the page hardly more than 50, wherever the list is scrolled to', async () => {
  await page.setTheme('JupyterLab Light');
  await show(STATE);
  const few = await busySeconds(50);
  const many = await busySeconds(500);
  await page.panel
    .locator('.jp-SidePanel-content')
    .evaluate((scroller) => scroller.scrollTo(0, 9_000));
  await page.panel.locator('.rvn-contributors tr[data-worker]').first().waitFor();
  const drawn = await page.rows();
  const deep = await busySeconds(500);
  console.log(
    [few, many, deep]
      .map(
        ({ taskS, longestMs }) =>
          `busy ${taskS.toFixed(2)} s of 4, longest task ${longestMs.toFixed(0)} ms`,
      )
      .join('; '),
  );
  expect(drawn.length).toBeLessThan(60);
  const seen = await page.panel
    .locator('.rvn-contributors tr[data-worker]')
    .evaluateAll((rows) =>
      rows.some(
        (row) => row.getBoundingClientRect().top > 300 && row.getBoundingClientRect().top < 600,
      ),
    );
  expect(seen).toBe(true);
  expect(many.taskS / few.taskS).toBeLessThan(2);
  expect(deep.taskS / few.taskS).toBeLessThan(2);
});

test('none of this made our files complain in the browser console', () => {
  expect(page.problems).toEqual([]);
});
