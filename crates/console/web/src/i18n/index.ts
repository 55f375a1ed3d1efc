// The language of the console: Chinese first, English at a touch, remembered on this device.

import { ref, watchEffect } from "vue";
import type { Missing, Name } from "../api/view";
import { age, type Age } from "../logic/age";
import { plain } from "../logic/figures";
import { mostFirst } from "../logic/series";
import { en } from "./en";
import { zh, type Key } from "./zh";

export type Locale = "zh" | "en";
const STORE = "sitian.locale";
const remembered = (): Locale => (globalThis.localStorage?.getItem(STORE) === "en" ? "en" : "zh");

export const locale = ref<Locale>(remembered());

export function setLocale(next: Locale): void {
  locale.value = next;
  localStorage.setItem(STORE, next);
}

if (globalThis.document) {
  watchEffect(() => {
    document.documentElement.lang = locale.value === "zh" ? "zh-CN" : "en";
  });
}

/** The text of a key, with `{names}` filled in. */
export function t(key: Key, fill: Record<string, string | number> = {}): string {
  const text: string = (locale.value === "zh" ? zh : en)[key];
  return text.replace(/\{(\w+)\}/g, (_, name: string) => String(fill[name] ?? ""));
}

/** A place's or measurement's name in the reader's language. */
export const inWords = (name: Name): string => (locale.value === "zh" ? name.zh || name.en : name.en || name.zh);

/** The Chinese name beside the English one: names of places stay Chinese with gloss. */
export const gloss = (name: Name): string => (locale.value === "en" && name.en && name.en !== name.zh ? name.zh : "");

const say = (kind: "age" | "span", { unit, count }: Age) => t(`${kind}.${unit}`, { count });
/** `12 秒前` */
export const ago = (ms: number): string => say("age", age(ms));
/** `12 秒` */
export const lasting = (ms: number): string => say("span", age(ms));

/** `3000 µS/cm`; of milliseconds `30 秒`, never rounded. */
export function quantity(value: number, unit: string | null | undefined): string {
  if (unit !== "ms") return unit ? `${plain(value)} ${unit}` : plain(value);
  return value % 60_000 ? t("span.seconds", { count: plain(value / 1_000) }) : t("span.minutes", { count: plain(value / 60_000) });
}

/** A cause in words; a word this console does not know yet is shown as it is. */
export const causeInWords = (cause: string): string => (`cause.${cause}` in zh ? t(`cause.${cause}` as Key) : cause);

/** `缺 163 条：设备无应答 120 · 网关离线 43`; empty if nothing is missing. */
export function missingInWords(missing: Missing, countMax?: number): string {
  const reasons = mostFirst(missing, countMax);
  const count = reasons.reduce((sum, [, n]) => sum + n, 0);
  const say = ([reason, n]: [string, number]) => `${reason ? causeInWords(reason) : t("missing.rest")} ${n.toLocaleString("en")}`;
  return count ? t("chart.missing", { count: count.toLocaleString("en"), causes: reasons.map(say).join(" · ") }) : "";
}
