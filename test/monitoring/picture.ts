import { LineChart } from 'echarts/charts';
import { GridComponent } from 'echarts/components';
import { init, use } from 'echarts/core';
import { SVGRenderer } from 'echarts/renderers';
import type { Panel } from './chart.ts';
import type { Series } from './server.ts';

use([LineChart, GridComponent, SVGRenderer]);

/** A panel with what a query over the time of the picture found. */
export interface DrawnPanel {
  readonly panel: Panel;
  readonly series: readonly Series[];
}

/** Pixels: of a column and of a row of Grafana's grid, between panels, and of the title of the dashboard. */
const [COLUMN, ROW, GAP, HEADING] = [50, 30, 8, 36];
/** More series, or more rows of their names, make a legend that nobody reads. The picture shows the largest, and says how many there are. */
const MOST_SERIES = 8;
const MOST_ROWS = 3;
const FONT = 'DejaVu Sans, Verdana, sans-serif';
/** Pixels, in the legend: of a character of the font at {@link LEGEND_SIZE} at most, of a row, and of a coloured mark with its spaces. */
const [LEGEND_SIZE, CHARACTER, LEGEND_ROW, MARK] = [10, 6.4, 14, 30];
const LINES = ['#5470c6', '#91cc75', '#fac858', '#ee6666', '#73c0de', '#3ba272', '#fc8452', '#9a60b4'];
const COLORS: Readonly<Record<string, string>> = { green: '#3d8b40', red: '#c4302b' };

/** A dashboard as one SVG, laid out as in Grafana. @param time beginning and end, in seconds since 1970 */
export function pictureOf(title: string, panels: readonly DrawnPanel[], time: readonly [number, number]): string {
  const width = 24 * COLUMN;
  const height = HEADING + ROW * Math.max(...panels.map(({ panel: { gridPos } }) => gridPos.y + gridPos.h));
  const minutes = Math.round((time[1] - time[0]) / 60);
  const parts = panels.map((drawn) => {
    const { x, y, w, h } = drawn.panel.gridPos;
    const [left, top] = [x * COLUMN + GAP / 2, HEADING + y * ROW + GAP / 2];
    const size = { width: w * COLUMN - GAP, height: h * ROW - GAP };
    const inside = drawn.panel.type === 'stat' ? stat(drawn, size) : lines(drawn, size, time);
    return `<svg x="${left}" y="${top}" width="${size.width}" height="${size.height}">
<rect width="100%" height="100%" rx="3" fill="#fff" stroke="#d8d9da"/>
<text x="10" y="20" font-size="13" font-weight="bold" fill="#24292e">${escapeXml(drawn.panel.title)}</text>
${inside}</svg>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="${FONT}">
<rect width="100%" height="100%" fill="#f4f5f5"/>
<text x="10" y="24" font-size="16" fill="#24292e">${escapeXml(title)} (${minutes} minutes)</text>
${parts.join('\n')}
</svg>
`;
}

interface Size {
  readonly width: number;
  readonly height: number;
}

/** The last value, in the colour of its threshold. */
function stat({ panel, series }: DrawnPanel, { width, height }: Size): string {
  const { unit, thresholds } = panel.fieldConfig.defaults;
  const last = Number(series[0]?.values.at(-1)?.[1] ?? Number.NaN);
  const step = thresholds?.steps.findLast(({ value }) => value === null || last >= value);
  const fill = COLORS[step?.color ?? ''] ?? '#24292e';
  const text = Number.isNaN(last) ? 'No data' : format(last, unit);
  return `<text x="${width / 2}" y="${height / 2 + 24}" font-size="38" text-anchor="middle" fill="${fill}">${text}</text>`;
}

/** A chart over time, drawn by ECharts without a browser. */
function lines({ panel, series }: DrawnPanel, { width, height }: Size, [from, to]: readonly [number, number]): string {
  const { unit, max, custom } = panel.fieldConfig.defaults;
  const peak = ({ values }: Series) => Math.max(...values.map(([, value]) => Number(value)).filter(Number.isFinite), 0);
  const largest = [...series].toSorted((a, b) => peak(b) - peak(a)).slice(0, MOST_SERIES);
  const legend = legendRows(
    largest.map((each) => legendOf(panel, each) || panel.title),
    width - 20,
  ).slice(0, MOST_ROWS);
  const named = legend.flat().map(({ name }, index) => ({
    name,
    data: (largest[index]?.values ?? []).map(([at, value]) => [at * 1000, numberOf(value)]),
  }));
  const more = series.length - named.length;
  const chart = init(null, null, { renderer: 'svg', ssr: true, width, height: height - 26 });
  chart.setOption({
    animation: false,
    textStyle: { fontFamily: FONT },
    color: LINES,
    grid: { left: 70, right: 14, top: 8, bottom: 30 + LEGEND_ROW * legend.length },
    xAxis: {
      type: 'time',
      min: from * 1000,
      max: to * 1000,
      axisLabel: { fontSize: 10, formatter: (value: number) => `${Math.round((value / 1000 - from) / 60)} min` },
      splitNumber: 6,
    },
    yAxis: { type: 'value', min: 0, max, splitNumber: 3, axisLabel: { fontSize: 10, formatter: (value: number) => format(value, unit) } },
    series: named.map(({ name, data }) => ({
      name,
      type: 'line',
      data: withGaps(data),
      showSymbol: false,
      lineStyle: { width: 1.5 },
      ...(custom?.stacking ? { stack: 'all', areaStyle: { opacity: 0.4 } } : {}),
    })),
  });
  const svg = `${chart.renderToSVGString().replace('<svg ', '<svg y="26" ')}${drawnLegend(legend, height)}`;
  chart.dispose();
  return more > 0 ? `${svg}<text x="${width - 10}" y="20" font-size="10" text-anchor="end">and ${more} more</text>` : svg;
}

interface LegendEntry {
  readonly name: string;
  readonly color: string;
  readonly left: number;
}

/** Where each name is, in rows that are not wider than this. ECharts measures no text without a browser, so its own legend overlaps. */
function legendRows(names: readonly string[], width: number): LegendEntry[][] {
  const rows: LegendEntry[][] = [];
  let left = width;
  for (const [index, name] of names.entries()) {
    const wide = MARK + name.length * CHARACTER;
    if (left > 0 && left + wide > width) {
      rows.push([]);
      left = 0;
    }
    rows.at(-1)?.push({ name, color: LINES[index % LINES.length] ?? '', left });
    left += wide;
  }
  return rows;
}

function drawnLegend(rows: readonly LegendEntry[][], height: number): string {
  return rows
    .flatMap((row, index) => {
      const base = height - 8 - LEGEND_ROW * (rows.length - 1 - index);
      return row.map(
        ({ name, color, left }) =>
          `<rect x="${left + 10}" y="${base - 5}" width="14" height="3" fill="${color}"/>
<text x="${left + 28}" y="${base}" font-size="${LEGEND_SIZE}" fill="#54555a">${escapeXml(name)}</text>`,
      );
    })
    .join('\n');
}

/** ECharts has no line through a value that is no number. */
const numberOf = (text: string): number | null => (Number.isFinite(Number(text)) ? Number(text) : null);

/** A line ends where its series has no value for more than two steps, as in Grafana. */
function withGaps(points: readonly (number | null)[][]): (number | null)[][] {
  const step = Math.min(...points.slice(1).map(([at], index) => (at ?? 0) - (points[index]?.[0] ?? 0)));
  return points.flatMap((point, index) => {
    const before = points[index - 1]?.[0];
    const at = point[0] ?? 0;
    return before !== undefined && before !== null && at - before > 2 * step ? [[before + step, null], point] : [point];
  });
}

/** The legend of a series: the labels that its panel names. */
function legendOf({ targets }: Panel, { metric }: Series): string {
  return (targets[0]?.legendFormat ?? '').replaceAll(/{{(\w+)}}/g, (_all, label: string) => metric[label] ?? '');
}

/** A number in one of Grafana's units. */
export function format(value: number, unit: string): string {
  const short = (number: number, base: number, names: readonly string[]): string => {
    let power = 0;
    let rest = number;
    while (rest >= base && power < names.length - 1) {
      rest /= base;
      power++;
    }
    return `${Number(rest.toPrecision(3))}${names[power]}`;
  };
  switch (unit) {
    case 'percentunit':
      return `${Number((value * 100).toPrecision(3))} %`;
    case 'Bps':
      return short(value, 1000, [' B/s', ' kB/s', ' MB/s', ' GB/s']);
    case 's':
      return value === 0
        ? '0'
        : value < 0.001
          ? `${Number((value * 1e6).toPrecision(3))} µs`
          : value < 1
            ? `${Number((value * 1e3).toPrecision(3))} ms`
            : `${Number(value.toPrecision(3))} s`;
    case 'iops':
    case 'ops':
    case 'pps':
      return `${short(value, 1000, ['', ' k', ' M'])}/s`;
    default:
      return short(value, 1000, ['', ' k', ' M', ' G']);
  }
}

const escapeXml = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
