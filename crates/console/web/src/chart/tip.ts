// What the pointer says about one window. Built from elements: the security policy forbids styles in HTML text.

import type { Point, Window } from "../api/view";
import { missingInWords, t } from "../i18n";
import { figure, moment } from "../logic/figures";
import { now } from "../state/clock";

export function tip(windows: Window[], at: number, point: Point): HTMLElement | "" {
  const window = windows.find((w) => Date.parse(w.from) <= at && at < Date.parse(w.to));
  if (!window) return "";
  const box = document.createElement("div");
  const line = (text: string, strong = false) => {
    const row = box.appendChild(document.createElement(strong ? "b" : "div"));
    row.textContent = text;
  };
  const value = (v: number | null) => figure(v, point.decimals);
  line(`${moment(Date.parse(window.from), now.value)} – ${moment(Date.parse(window.to), now.value)}`);
  line(window.mean == null ? t("chart.none") : `${t("chart.mean")} ${value(window.mean)} ${point.unit}`, true);
  if (window.mean != null) line(`${t("chart.band")} ${value(window.min)} – ${value(window.max)}`);
  line(t("chart.count", { count: window.count, expected: window.expected }));
  if (window.uncertain) line(`${t("point.quality_uncertain")} ${window.uncertain}`);
  if (window.corrected) line(`◇ ${t("correct.marked", { count: window.corrected })}`);
  const missing = missingInWords(window.missing);
  if (missing) line(missing);
  return box;
}
