/** @file The loss curve of a run as SVG: raw values faint, smoothed ones strong, a reading under the pointer. */
import type { LossSeries } from '@ravenlab/protocol';
import { formatCount, formatLoss } from '@ravenlab/protocol';
import type { PointerEvent } from 'react';
import { useEffect, useMemo, useRef, useState } from 'react';
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

export function LossCurve(props: { readonly series: LossSeries }) {
  const { trans, settings } = useServices();
  const { lossSmoothing } = useStore(settings);
  const [frameRef, width] = useWidth();
  const [pointerX, setPointerX] = useState<number | null>(null);
  const svgRef = useRef<SVGSVGElement>(null);
  const { points, stride } = props.series;
  const drawn = useMemo(() => {
    const box = { width: Math.max(1, width), height: HEIGHT - 2 * INSET };
    const scale = scaleOf(points, box);
    if (scale === null) return null;
    const smoothed = smooth(points, lossSmoothing);
    return {
      box,
      scale,
      smoothed,
      raw: pathOf(points, scale),
      line: pathOf(smoothed, scale),
      area: areaOf(smoothed, scale, box),
    };
  }, [points, width, lossSmoothing]);
  if (drawn === null) {
    return <div className="rvn-curve rvn-curveEmpty">{trans.__('No loss reported yet')}</div>;
  }
  const { box, scale, smoothed, raw, line, area } = drawn;
  const index = pointerX === null ? points.length - 1 : nearestIndex(points, scale, pointerX);
  const mark = smoothed[index];
  const reading = points[index];
  const track = (event: PointerEvent) => {
    const left = svgRef.current?.getBoundingClientRect().left ?? 0;
    setPointerX(event.clientX - left);
  };
  const label = trans.__(
    'Loss from %1 to %2 over %3 steps',
    formatLoss(points[0]?.[1] ?? null),
    formatLoss(points[points.length - 1]?.[1] ?? null),
    formatCount(scale.maxStep + stride),
  );
  return (
    <figure className="rvn-curve" ref={frameRef}>
      <svg
        ref={svgRef}
        role="img"
        aria-label={label}
        width="100%"
        height={HEIGHT}
        viewBox={`0 ${String(-INSET)} ${String(box.width)} ${String(HEIGHT)}`}
        onPointerMove={track}
        onPointerLeave={() => setPointerX(null)}
      >
        {[0, 0.5, 1].map((part) => (
          <line
            key={part}
            className="rvn-grid"
            x1={0}
            x2={box.width}
            y1={box.height * part}
            y2={box.height * part}
          />
        ))}
        <path className="rvn-curveArea" d={area} />
        <path className="rvn-curveRaw" d={raw} />
        <path className="rvn-curveLine" d={line} />
        {mark === undefined ? null : (
          <g>
            {pointerX === null ? null : (
              <line
                className="rvn-cursor"
                x1={scale.x(mark[0])}
                x2={scale.x(mark[0])}
                y1={0}
                y2={box.height}
              />
            )}
            <circle className="rvn-curveDot" cx={scale.x(mark[0])} cy={scale.y(mark[1])} r={2.75} />
          </g>
        )}
      </svg>
      <span className="rvn-axis rvn-axisTop">{formatLoss(scale.maxLoss)}</span>
      <span className="rvn-axis rvn-axisBottom">{formatLoss(scale.minLoss)}</span>
      <figcaption>
        <span>{trans.__('step %1', formatCount(scale.minStep))}</span>
        {pointerX === null || reading === undefined ? null : (
          <b>
            {trans.__('step %1 · loss %2', formatCount(reading[0]), formatLoss(reading[1]))}
          </b>
        )}
        <span>{formatCount(scale.maxStep)}</span>
      </figcaption>
    </figure>
  );
}
