/** @file A traced graph as a drawing: one box an op, data flowing down. */
import type { GraphNode } from '../../core/graph/node.js';
import type { DrawnNode } from '../../core/graph/draw.js';
import { drawGraph } from '../../core/graph/draw.js';
import type { Tensor } from '../tensor.js';
import { currentRuntime } from '../runtime.js';
import { Figure } from './figure.js';
import { COLOURS, element, FAINT, INK, label, PAPER, short, svg } from './svg.js';

export interface GraphOptions {
  readonly title?: string;
  /** Ops nearest to the result that are drawn. */
  readonly maxNodes?: number;
}

const BOX = { width: 104, height: 34, gapX: 14, gapY: 26, margin: 12, title: 26 } as const;

/** The graph behind tensors that have not been computed yet. */
export function graph(outputs: Tensor | readonly Tensor[], options: GraphOptions = {}): Figure {
  const list = 'node' in outputs ? [outputs] : outputs;
  const drawn = drawGraph(
    list.map((tensor) => tensor.node),
    options.maxNodes ?? 150,
  );
  const width = drawn.width * (BOX.width + BOX.gapX) + 2 * BOX.margin;
  const rowWidths = Array.from(
    { length: drawn.layers },
    (_, layer) => drawn.nodes.filter((node) => node.layer === layer).length,
  );
  const place = (node: DrawnNode): readonly [number, number] => {
    const inRow = rowWidths[node.layer] ?? 1;
    const left = (width - inRow * (BOX.width + BOX.gapX) + BOX.gapX) / 2;
    return [
      left + node.order * (BOX.width + BOX.gapX),
      BOX.title + node.layer * (BOX.height + BOX.gapY),
    ];
  };
  const edges = drawn.edges.map(({ from, to }) => {
    const [source, target] = [drawn.nodes[from], drawn.nodes[to]];
    return source === undefined || target === undefined ? '' : edge(place(source), place(target));
  });
  const boxes = drawn.nodes.map((node) => box(node, place(node)));
  const hidden = drawn.hidden > 0 ? `, ${String(drawn.hidden)} more above` : '';
  const head = `${options.title ?? 'Traced graph'}: ${String(drawn.nodes.length)} nodes${hidden}`;
  const caption = label(head, BOX.margin, 16, { 'font-size': 13, 'font-weight': 600 });
  const height = BOX.title + drawn.layers * (BOX.height + BOX.gapY);
  const picture = svg(
    Math.max(width, 320),
    height,
    head,
    caption + edges.join('') + boxes.join(''),
  );
  const html = `<div style="overflow:auto;max-height:640px">${picture}</div>`;
  return new Figure(html, head);
}

function edge([x1, y1]: readonly [number, number], [x2, y2]: readonly [number, number]): string {
  const [startX, startY] = [x1 + BOX.width / 2, y1 + BOX.height];
  const endX = x2 + BOX.width / 2;
  const middle = (startY + y2) / 2;
  const d = `M${short(startX)} ${short(startY)}C${short(startX)} ${short(middle)} ${short(endX)} ${short(middle)} ${short(endX)} ${short(y2)}`;
  return element('path', { d, fill: 'none', stroke: FAINT, 'stroke-width': 1.2 });
}

function colour(node: DrawnNode): string {
  if (node.kind === 'output') return COLOURS[1] ?? INK;
  return (node.kind === 'leaf' ? COLOURS[2] : COLOURS[0]) ?? INK;
}

const LEAF_NAMES: Readonly<Record<string, string>> = {
  state: 'weight',
  rows: 'batch',
  data: 'data',
  inline: 'constant',
  key: 'random key',
};

function nameOf(node: GraphNode, fallback: string): string {
  if (node.kind !== 'leaf') return fallback;
  const isBuffer = currentRuntime().ownerOf(node)?.requiresGrad === false;
  return isBuffer ? 'statistic' : (LEAF_NAMES[node.leaf.kind] ?? fallback);
}

function box(node: DrawnNode, [x, y]: readonly [number, number]): string {
  const tint = colour(node);
  const frame = { x, y, width: BOX.width, height: BOX.height, rx: node.kind === 'leaf' ? 16 : 5 };
  const centre = x + BOX.width / 2;
  return [
    element('rect', { ...frame, fill: PAPER }),
    element('rect', { ...frame, fill: tint, 'fill-opacity': 0.14, stroke: tint }),
    label(nameOf(node.node, node.label), centre, y + 14, {
      'text-anchor': 'middle',
      'font-weight': 600,
    }),
    label(node.detail, centre, y + 27, { 'text-anchor': 'middle', 'font-size': 9, opacity: 0.75 }),
  ].join('');
}
