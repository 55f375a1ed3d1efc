// From windows, limits and alerts to a picture. Knows no network and no document.

import type { Alert, Point, Severity, Window } from "../api/view";
import { figure, hourMinute } from "../logic/figures";
import { textWidth } from "../logic/placement";
import { isolated } from "../logic/series";

export const PLOT = { left: 56, right: 60, top: 18, bottom: 28 };

export type Palette = Record<"ink" | "ink2" | "ink3" | "line" | "sheet" | "chartLine" | "chartBand" | Severity, string>;

/** A time in which readings are missing, with the reason in words. */
export interface Gap { from: number; to: number; word: string }

export interface Picture {
  windows: Window[];
  from: number;
  to: number;
  point: Point;
  alerts: Alert[];
  gaps: Gap[];
  palette: Palette;
  /** What no data looks like everywhere: hatched. */
  hatch: object | string;
  /** Width of the plot in pixels: what is written into a span has to fit. */
  plotWidth: number;
  /** The em in pixels: larger on the wall. */
  em: number;
  font: string;
  /** Day before the hour, where more than a day is shown. */
  axis(ms: number): string;
  tooltip(at: number): HTMLElement | "";
}

/** Limits worth showing: those near enough that the values keep their shape. Room for a few steps of the smallest place that is told. */
export function scale(windows: Window[], limits: number[], decimals: number): { min: number; max: number } {
  const known = windows.flatMap((w) => [w.min, w.max]).filter((v) => v != null);
  if (!known.length) return { min: Math.min(0, ...limits), max: Math.max(1, ...limits) };
  let [low, high] = [Math.min(...known), Math.max(...known)];
  const reach = Math.max(high - low, Math.abs(high) * 0.05, 1e-6) * 1.5;
  for (const limit of limits) {
    if (limit > high && limit - high < reach) high = limit;
    if (limit < low && low - limit < reach) low = limit;
  }
  const pad = Math.max((high - low) * 0.08, Math.abs(high) * 0.005, 2 * 10 ** -decimals);
  return { min: low >= 0 && low - pad < 0 ? 0 : low - pad, max: high + pad };
}

/** How the name of a span is written into it: along it, else down it, else not at all (the pointer tells). */
export function spanLabel(word: string, width: number, size: number): { formatter: string; rotate?: number } | null {
  if (textWidth(word, size) + 8 <= width) return { formatter: word };
  if (width < size * 1.4) return null;
  return /[\u4e00-\u9fff]/.test(word) ? { formatter: [...word].join("\n") } : { formatter: word, rotate: 90 };
}

/** Faded where readings are missing, under everything else, so that silence never looks like a calm field. */
function faded(picture: Picture) {
  const { from, to, palette, em } = picture;
  const size = em * 0.75;
  return picture.gaps.flatMap((gap) => {
    const [left, right] = [Math.max(gap.from, from), Math.min(gap.to, to)];
    if (right <= left) return [];
    const said = spanLabel(gap.word, ((right - left) / (to - from)) * picture.plotWidth, size);
    const label = said
      ? { ...said, show: true, position: "inside", align: "center", verticalAlign: "middle", lineHeight: size * 1.15, color: palette.ink2, fontSize: size, fontFamily: picture.font, textBorderColor: palette.sheet, textBorderWidth: 3 }
      : { show: false };
    return [[{ xAxis: left, itemStyle: { color: picture.hatch, opacity: 0.55 }, label }, { xAxis: right }]];
  });
}

/** Most marks that one picture shows. */
const MARKS_MAX = 60;

/** Windows with readings that a person has corrected; of very many every so-manieth, and the last. */
export function marked(windows: Window[]): Window[] {
  const all = windows.filter((w) => w.corrected);
  const step = Math.ceil(all.length / MARKS_MAX);
  return all.filter((_, k) => k % step === 0 || k === all.length - 1);
}

export function option(picture: Picture) {
  const { windows, from, to, point, palette, em } = picture;
  const middle = (w: Window) => (Date.parse(w.from) + Date.parse(w.to)) / 2;
  const alone = isolated(windows.map((w) => w.mean));
  const limits = point.limits.flatMap((l) => {
    const value = l.above ?? l.below;
    return value == null ? [] : [{ value, severity: l.severity, above: l.above != null }];
  });
  const { min, max } = scale(windows, limits.map((l) => l.value), point.decimals);
  const text = { color: palette.ink3, fontSize: em * 0.75, fontFamily: picture.font };
  const quiet = { silent: true, symbol: "none", lineStyle: { width: 0 }, animation: false };
  return {
    animation: false,
    grid: { ...PLOT, left: (PLOT.left * em) / 16, right: (PLOT.right * em) / 16, bottom: (PLOT.bottom * em) / 16 },
    xAxis: {
      type: "time",
      min: from,
      max: to,
      splitNumber: 6,
      axisLine: { lineStyle: { color: palette.line } },
      axisTick: { show: false },
      axisLabel: { ...text, hideOverlap: true, formatter: (ms: number) => picture.axis(ms) },
      axisPointer: { show: true, lineStyle: { color: palette.ink3 }, label: { show: false } },
    },
    yAxis: {
      type: "value",
      min,
      max,
      splitNumber: 4,
      minInterval: 10 ** -point.decimals,
      axisLabel: { ...text, showMinLabel: false, showMaxLabel: false, formatter: (v: number) => figure(v, point.decimals) },
      splitLine: { lineStyle: { color: palette.line } },
    },
    dataZoom: [{ type: "inside", filterMode: "none", minValueSpan: 60_000, zoomOnMouseWheel: true, moveOnMouseMove: true, throttle: 60 }],
    tooltip: {
      trigger: "axis",
      confine: true,
      transitionDuration: 0,
      className: "chart-tip",
      formatter: (items: { value: [number, number] }[]) => picture.tooltip(items[0]?.value[0] ?? 0),
    },
    series: [
      { ...quiet, name: "gaps", type: "line", data: [], z: 1, markArea: { silent: true, data: faded(picture) } },
      { ...quiet, name: "min", type: "line", stack: "band", stackStrategy: "all", data: windows.map((w) => [middle(w), w.min]) },
      {
        ...quiet,
        name: "band",
        type: "line",
        stack: "band",
        stackStrategy: "all",
        areaStyle: { color: palette.chartBand, opacity: 1 },
        data: windows.map((w) => [middle(w), w.max == null || w.min == null ? null : w.max - w.min]),
      },
      {
        name: "mean",
        type: "line",
        connectNulls: false,
        symbol: "circle",
        showAllSymbol: true,
        symbolSize: (_: unknown, { dataIndex }: { dataIndex: number }) => (alone[dataIndex] ? 5 : 0),
        itemStyle: { color: palette.chartLine },
        lineStyle: { color: palette.chartLine, width: em / 9 },
        data: windows.map((w) => [middle(w), w.mean]),
        markLine: {
          silent: true,
          symbol: "none",
          data: limits
            .filter((l) => l.value >= min && l.value <= max)
            .map((l) => ({
              yAxis: l.value,
              lineStyle: { color: palette[l.severity], type: "dashed", width: 1.5 },
              label: { ...text, color: palette.ink2, position: "end", formatter: `${l.above ? "≤" : "≥"} ${figure(l.value, point.decimals)}` },
            })),
        },
        markArea: {
          silent: true,
          data: picture.alerts.map((a) => [
            { xAxis: Math.max(Date.parse(a.started_at), from), itemStyle: { color: palette[a.severity], opacity: 0.13 } },
            { xAxis: Math.min(a.resolved_at ? Date.parse(a.resolved_at) : to, to) },
          ]),
        },
      },
      {
        ...quiet,
        name: "corrected",
        type: "line",
        z: 4,
        symbol: "diamond",
        showAllSymbol: true,
        symbolSize: em * 0.5,
        itemStyle: { color: palette.sheet, borderColor: palette.ink, borderWidth: 1.25 },
        data: marked(windows).map((w) => [middle(w), w.mean ?? min]),
      },
    ],
  };
}

/** `14:02`; `05-04 14:02` where the span is longer than a day. */
export const axisWords = (spanMs: number, day: (ms: number) => string) => (ms: number) =>
  spanMs <= 86_400_000 ? hourMinute(ms) : spanMs <= 8 * 86_400_000 ? `${day(ms).slice(5)} ${hourMinute(ms)}` : day(ms).slice(5);
