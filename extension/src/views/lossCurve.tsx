/** @file The loss curve of a run as SVG: raw values faint, smoothed ones strong, a reading under the pointer. */
import type { LossPoint, LossSeries } from '@ravenlab/protocol';
import { formatCount, formatLoss } from '@ravenlab/protocol';
import type { PointerEvent } from 'react';
import { useEffect, useMemo, useState } from 'react';
import type { Box, CurveScale } from '../model/curve.js';
import { areaOf, nearestIndex, pathOf, scaleOf, smooth } from '../model/curve.js';
import { useServices, useStore } from './context.js';

const HEIGHT = 116;
/** Room for the stroke, so that extremes are not cut. */
const INSET = 3;

function useWidth(): readonly [(element: HTMLElement | null) => void, number] {
  const [element, setElement] = useState<HTMLElement | null>(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    if (element === null) return undefined;
    const observer = new ResizeObserver(() => setWidth(element.clientWidth));
    observer.observe(element);
    return () => observer.disconnect();
  }, [element]);
  return [setElement, width];
}

interface Drawing {
  readonly box: Box;
  readonly scale: CurveScale;
  readonly smoothed: readonly LossPoint[];
  readonly raw: string;
  readonly line: string;
  readonly area: string;
}

function draw(points: readonly LossPoint[], width: number, smoothing: number): Drawing | null {
  const box = { width: Math.max(1, width), height: HEIGHT - 2 * INSET };
  const scale = scaleOf(points, box);
  if (scale === null) return null;
  const smoothed = smooth(points, smoothing);
  return {
    box,
    scale,
    smoothed,
    raw: pathOf(points, scale),
    line: pathOf(smoothed, scale),
    area: areaOf(smoothed, scale, box),
  };
}

function Marker(props: {
  readonly drawing: Drawing;
  readonly index: number;
  readonly isRead: boolean;
}) {
  const { box, scale, smoothed } = props.drawing;
  const point = smoothed[props.index];
  if (point === undefined) return null;
  const x = scale.x(point[0]);
  return (
    <g>
      {props.isRead ? <line className="rvn-cursor" x1={x} x2={x} y1={0} y2={box.height} /> : null}
      <circle className="rvn-curveDot" cx={x} cy={scale.y(point[1])} r={2.75} />
    </g>
  );
}

function Grid(props: { readonly box: Box }) {
  const { width, height } = props.box;
  return [0, 0.5, 1].map((part) => (
    <line key={part} className="rvn-grid" x1={0} x2={width} y1={height * part} y2={height * part} />
  ));
}

export function LossCurve(props: { readonly series: LossSeries }) {
  const { trans, settings } = useServices();
  const { lossSmoothing } = useStore(settings);
  const [frameRef, width] = useWidth();
  const [pointerX, setPointerX] = useState<number | null>(null);
  const { points, stride } = props.series;
  const drawing = useMemo(() => draw(points, width, lossSmoothing), [points, width, lossSmoothing]);
  if (drawing === null) {
    return <div className="rvn-curve rvn-curveEmpty">{trans.__('No loss reported yet')}</div>;
  }
  const { box, scale } = drawing;
  const last = points.length - 1;
  const index = pointerX === null ? last : nearestIndex(points, scale, pointerX);
  const reading = points[index];
  const track = (event: PointerEvent<SVGSVGElement>) => {
    setPointerX(event.clientX - event.currentTarget.getBoundingClientRect().left);
  };
  const label = trans.__(
    'Loss from %1 to %2 over %3 steps',
    formatLoss(points[0]?.[1] ?? null),
    formatLoss(points[last]?.[1] ?? null),
    formatCount(scale.maxStep + stride),
  );
  return (
    <figure className="rvn-curve" ref={frameRef}>
      <svg
        role="img"
        aria-label={label}
        width="100%"
        height={HEIGHT}
        viewBox={`0 ${String(-INSET)} ${String(box.width)} ${String(HEIGHT)}`}
        onPointerMove={track}
        onPointerLeave={() => setPointerX(null)}
      >
        <Grid box={box} />
        <path className="rvn-curveArea" d={drawing.area} />
        <path className="rvn-curveRaw" d={drawing.raw} />
        <path className="rvn-curveLine" d={drawing.line} />
        <Marker drawing={drawing} index={index} isRead={pointerX !== null} />
      </svg>
      <span className="rvn-axis rvn-axisTop">{formatLoss(scale.maxLoss)}</span>
      <span className="rvn-axis rvn-axisBottom">{formatLoss(scale.minLoss)}</span>
      <figcaption>
        <span>{trans.__('step %1', formatCount(scale.minStep))}</span>
        {pointerX === null || reading === undefined ? null : (
          <b>{trans.__('step %1 · loss %2', formatCount(reading[0]), formatLoss(reading[1]))}</b>
        )}
        <span>{formatCount(scale.maxStep)}</span>
      </figcaption>
    </figure>
  );
}
