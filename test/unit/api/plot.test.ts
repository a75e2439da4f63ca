/** @file Plots are markup that is safe, small and well formed; live ones update in place. */
import { inflateSync } from 'node:zlib';
import { manualSeed, nn, optim, plot, tensor, zeros } from 'ravenlab';
import { pngUrl } from '../../../kernel/src/api/plot/png.js';
import { logTicks, ticks } from '../../../kernel/src/api/plot/svg.js';
import { freshSession } from './lib/oracleSession.js';
import type { OracleSession } from './lib/oracleSession.js';

let session: OracleSession;
beforeEach(() => {
  session = freshSession();
  manualSeed(1);
});

/** Throws unless every element is closed in order. */
function requireWellFormed(markup: string): void {
  const open: string[] = [];
  for (const [, close, name = '', attributes = ''] of markup.matchAll(
    /<(\/?)([a-z]+)((?:"[^"]*"|[^">])*)>/g,
  )) {
    if (close === '/') expect(open.pop()).toBe(name);
    else if (!attributes.endsWith('/') && name !== 'img') open.push(name);
  }
  expect(open).toEqual([]);
}

test('a title from anywhere stays text', () => {
  const { html } = plot.line([1, 2], { title: '<script>alert("x")</script>' });
  expect(html).not.toContain('<script');
  expect(html).toContain('&lt;script&gt;');
  requireWellFormed(html);
});

test.each([
  ['one point', [1]],
  ['nothing', []],
  ['a constant', [3, 3, 3]],
  ['only NaN', [NaN, NaN]],
  ['infinities among numbers', [1, Infinity, 2]],
])('a line of %s is drawn without a NaN in the markup', (_, values) => {
  for (const logY of [false, true]) {
    const { html } = plot.line(values, { logY });
    expect(html).not.toMatch(/NaN|Infinity/);
    requireWellFormed(html);
  }
});

test('a logarithmic axis leaves out what has no logarithm', () => {
  const { html } = plot.line([0, -1, 10, 100], { logY: true });
  expect(/<path d="([^"]*)"/.exec(html)?.[1]?.match(/[ML]/g)).toHaveLength(2);
});

test('a long curve is thinned to what can be seen, and keeps its range', () => {
  const { html } = plot.line(Float32Array.from({ length: 100_000 }, (_, i) => Math.sin(i / 5_000)));
  expect(html.length).toBeLessThan(30_000);
});

test('several series get a legend, and unequal x and y are refused', () => {
  const { html, text } = plot.line([
    { y: [1, 2], label: 'train' },
    { y: tensor([3, 4]), label: 'test' },
  ]);
  expect(html).toContain('>train<');
  expect(text).toContain('test: 2 points, 3 … 4, last 4');
  expect(() => plot.line({ x: [1], y: [1, 2] })).toThrow(/1 x values for 2 y values/);
  expect(() => plot.line(zeros([2, 2]))).toThrow(/tensor of rank 1, got \[2, 2\]/);
});

test('ticks are round numbers inside the range', () => {
  expect(ticks({ min: 0, max: 1 }, 5)).toEqual([0, 0.2, 0.4, 0.6000000000000001, 0.8, 1]);
  expect(ticks({ min: -7, max: 8 }, 4)).toEqual([-5, 0, 5]);
  expect(logTicks({ min: 0.5, max: 20 })).toEqual([0.5, 1, 2, 5, 10, 20]);
});

test('scatter and bars show their data', () => {
  const scatter = plot.scatter([1, 2, 3], [1, 2, 3], { groups: ['a', 'b', 'a'] });
  expect(scatter.html.match(/<circle/g)).toHaveLength(3);
  const bars = plot.bars(['x', 'y'], [-1, 2], { title: 'T' });
  expect(bars.text).toBe('T\nx: -1\ny: 2');
  requireWellFormed(bars.html);
  expect(() => plot.bars(['x'], [1, 2])).toThrow(/1 labels for 2 values/);
});

test('an image is a PNG with the pixels of the tensor', () => {
  const url = pngUrl({ width: 2, height: 1, channels: 3, data: Uint8Array.of(1, 2, 3, 4, 5, 6) });
  const bytes = Buffer.from(url.split(',')[1] ?? '', 'base64');
  expect([...bytes.subarray(0, 8)]).toEqual([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  expect([bytes.readUInt32BE(16), bytes.readUInt32BE(20), bytes[25]]).toEqual([2, 1, 2]);
  // Known check value: the CRC of an empty IEND chunk.
  expect(bytes.subarray(-4).toString('hex')).toBe('ae426082');
  const length = bytes.readUInt32BE(33);
  expect([...inflateSync(bytes.subarray(41, 41 + length))]).toEqual([0, 1, 2, 3, 4, 5, 6]);
});

test('images take the usual layouts and refuse others', () => {
  expect(plot.image(zeros([4, 5])).text).toBe('image [4, 5]');
  expect(plot.image(zeros([3, 4, 5])).html).toContain('data:image/png');
  const gallery = plot.images(zeros([3, 1, 2, 2]), { labels: ['<a>', 'b', 'c'] });
  expect(gallery.html.match(/<img/g)).toHaveLength(3);
  expect(gallery.html).toContain('&lt;a&gt;');
  requireWellFormed(gallery.html);
  expect(() => plot.image(zeros([2, 4, 5]))).toThrow(/an image is \[H, W\].*got \[2, 4, 5\]/);
});

test('a confusion matrix counts actual classes in rows', () => {
  const { text, html } = plot.confusionMatrix([0, 0, 1, 2], tensor(Int32Array.of(0, 1, 1, 2)));
  expect(text).toBe(
    'Confusion matrix: 75.0 % of 4 right\n   1   1   0\n   0   1   0\n   0   0   1',
  );
  requireWellFormed(html);
  expect(() => plot.confusionMatrix([0], [0, 1])).toThrow(/1 actual and 2 predicted/);
  expect(() => plot.confusionMatrix([0], [5], { classes: ['a', 'b'] })).toThrow(
    /classes 0 and 5, expected 0 … 1/,
  );
});

test('a traced graph is drawn with ops, weights and shapes, without being computed', () => {
  const model = new nn.Linear(2, 3);
  const { html, text } = plot.graph(model.forward(zeros([4, 2])).relu());
  expect(html).toContain('>matMul<');
  expect(html).toContain('>weight<');
  expect(html).toContain('float32 [4, 3]');
  expect(text).toMatch(/^Traced graph: \d+ nodes$/);
  requireWellFormed(html);
  expect(session.executed).toHaveLength(0);
});

test('a live chart follows the losses of the steps in one display', async () => {
  const w = tensor([4], { requiresGrad: true });
  const opt = new optim.SGD([w], { lr: 0.1 });
  const chart = plot.live({ title: 'Loss' });
  for (let i = 0; i < 3; i++) {
    w.mul(w).sum().backward();
    await opt.step();
    session.clockMs += 1_000;
  }
  chart.push({ accuracy: tensor(0.5) });
  chart.done();
  expect(new Set(session.shown.map(({ options }) => options?.displayId)).size).toBe(1);
  expect(session.shown.map(({ options }) => options?.update)).toEqual([
    false,
    true,
    true,
    true,
    true,
  ]);
  expect(session.shown.at(-1)?.bundle['text/plain']).toContain(
    'loss: 3 points, 6.554 … 16, last 6.554',
  );
  expect(session.shown.at(-1)?.bundle['text/html']).toContain('>accuracy<');
});

test('a live chart goes on with the curve of the run that it resumes', async () => {
  const w = tensor([4], { requiresGrad: true });
  const opt = new optim.SGD([w], { lr: 0.1 });
  const losses = [0, 1, 2].map((step) => [step, 20 - step] as const);
  const chart = plot.live({ resume: { step: 3, losses } });
  w.mul(w).sum().backward();
  await opt.step();
  chart.done();
  expect(session.shown.at(-1)?.bundle['text/plain']).toContain('loss: 4 points, 16 … 20, last 16');
});
