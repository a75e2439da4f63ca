/** @file Layered layout of a traced graph as plain data; turning it into SVG is the caller's work. */
import { formatShape } from '@ravenlab/protocol';
import type { GraphNode } from './node.js';
import { nodeName, postOrder } from './node.js';

export interface DrawnNode {
  /** Op name, or the leaf's kind. */
  readonly label: string;
  readonly detail: string;
  readonly kind: 'leaf' | 'op' | 'output';
  /** Longest distance from a leaf: the row of a top-down drawing. */
  readonly layer: number;
  /** Position within the layer, 0-based, chosen to keep edges short. */
  readonly order: number;
  readonly node: GraphNode;
}

/** `from` and `to` index `nodes`; edges point from input to user. */
export interface DrawnEdge {
  readonly from: number;
  readonly to: number;
}

export interface DrawnGraph {
  readonly nodes: readonly DrawnNode[];
  readonly edges: readonly DrawnEdge[];
  readonly layers: number;
  /** Nodes of the fullest layer. */
  readonly width: number;
  /** Nodes left out because the graph has more than `maxNodes`. */
  readonly hidden: number;
}

/** Sweeps of the barycentre heuristic; more change little on graphs of this size. */
const SWEEPS = 4;

/**
 * Lays out the part of the graph nearest to `outputs`, at most `maxNodes` nodes.
 * Sugiyama's method without dummy nodes: longest-path layers, then barycentre sweeps.
 */
export function drawGraph(outputs: readonly GraphNode[], maxNodes = 400): DrawnGraph {
  const all = postOrder(outputs);
  const shown = all.slice(Math.max(0, all.length - maxNodes));
  const indexOf = new Map(shown.map((node, index) => [node, index]));
  const inputsOf = shown.map((node) =>
    [...new Set(node.inputs)].flatMap((input) => indexOf.get(input) ?? []),
  );
  const layers = longestPathLayers(inputsOf);
  const rows = groupByLayer(layers);
  orderRows(rows, inputsOf);
  const orders = new Array<number>(shown.length).fill(0);
  for (const row of rows) row.forEach((index, order) => (orders[index] = order));
  const results = new Set(outputs);
  return {
    nodes: shown.map((node, index) => ({
      label: nodeName(node),
      detail: `${node.type.dtype} ${formatShape(node.type.shape)}`,
      kind: results.has(node) ? 'output' : node.kind === 'leaf' ? 'leaf' : 'op',
      layer: layers[index] ?? 0,
      order: orders[index] ?? 0,
      node,
    })),
    edges: inputsOf.flatMap((inputs, to) => inputs.map((from) => ({ from, to }))),
    layers: rows.length,
    width: rows.reduce((widest, row) => Math.max(widest, row.length), 0),
    hidden: all.length - shown.length,
  };
}

function longestPathLayers(inputsOf: readonly (readonly number[])[]): number[] {
  const layers: number[] = [];
  for (const inputs of inputsOf) {
    layers.push(inputs.reduce((layer, input) => Math.max(layer, (layers[input] ?? 0) + 1), 0));
  }
  // A leaf sits right above its first user instead of at the very top: edges stay short.
  const firstUse = new Array<number>(layers.length).fill(Infinity);
  inputsOf.forEach((inputs, user) => {
    for (const input of inputs) {
      firstUse[input] = Math.min(firstUse[input] ?? Infinity, layers[user] ?? 0);
    }
  });
  return layers.map((layer, index) => {
    const use = firstUse[index] ?? Infinity;
    return inputsOf[index]?.length === 0 && Number.isFinite(use) ? Math.max(0, use - 1) : layer;
  });
}

function groupByLayer(layers: readonly number[]): number[][] {
  const rows: number[][] = [];
  layers.forEach((layer, index) => {
    while (rows.length <= layer) rows.push([]);
    rows[layer]?.push(index);
  });
  return rows;
}

function orderRows(rows: number[][], inputsOf: readonly (readonly number[])[]): void {
  const usersOf: number[][] = inputsOf.map(() => []);
  inputsOf.forEach((inputs, user) => {
    for (const input of inputs) usersOf[input]?.push(user);
  });
  const position = new Array<number>(inputsOf.length).fill(0);
  const place = (row: readonly number[]): void => {
    row.forEach((index, order) => (position[index] = order - (row.length - 1) / 2));
  };
  rows.forEach(place);
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const down = sweep % 2 === 0;
    const neighbours = down ? inputsOf : usersOf;
    const sequence = down ? rows : [...rows].reverse();
    for (const row of sequence) {
      const weight = new Map(
        row.map((index) => [index, barycentre(neighbours[index] ?? [], position, index)]),
      );
      row.sort((a, b) => (weight.get(a) ?? 0) - (weight.get(b) ?? 0) || a - b);
      place(row);
    }
  }
}

function barycentre(
  neighbours: readonly number[],
  position: readonly number[],
  self: number,
): number {
  if (neighbours.length === 0) return position[self] ?? 0;
  return neighbours.reduce((sum, index) => sum + (position[index] ?? 0), 0) / neighbours.length;
}
