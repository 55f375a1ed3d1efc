// Numbers as they are printed. Beijing time everywhere: the network lives in one zone.

const ZONE = "Asia/Shanghai";
const clockFormat = new Intl.DateTimeFormat("en-GB", { timeZone: ZONE, hour: "2-digit", minute: "2-digit", second: "2-digit" });
const dayFormat = new Intl.DateTimeFormat("en-CA", { timeZone: ZONE, year: "numeric", month: "2-digit", day: "2-digit" });

/** `14:02:07` in Beijing. */
export const clock = (ms: number): string => clockFormat.format(ms);
/** `14:02` in Beijing. */
export const hourMinute = (ms: number): string => clock(ms).slice(0, 5);
/** `2026-05-04` in Beijing. */
export const day = (ms: number): string => dayFormat.format(ms);
/** `14:02`, or `05-04 14:02` if that was not today. */
export const moment = (ms: number, now: number): string =>
  day(ms) === day(now) ? hourMinute(ms) : `${day(ms).slice(5)} ${hourMinute(ms)}`;

const MINUS = "\u2212";

/** A value with its measurement's decimals and a true minus sign; an en dash where there is none. */
export function figure(value: number | null | undefined, decimals: number): string {
  if (value == null || !Number.isFinite(value)) return "–";
  const text = value.toFixed(decimals);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", MINUS);
}

/** `99.2 %`; rounds down, so that only complete data reads 100 %. */
export function percent(ratio: number | null | undefined): string {
  if (ratio == null || !Number.isFinite(ratio)) return "–";
  const tenths = Math.floor(ratio * 1000 + 1e-6);
  return tenths >= 1000 ? "100 %" : `${(tenths / 10).toFixed(1)} %`;
}

/** Bytes with a binary unit. */
export function bytes(count: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  let left = count;
  while (left >= 1024 && at < units.length - 1) {
    left /= 1024;
    at += 1;
  }
  return `${left < 10 && at > 0 ? left.toFixed(1) : Math.round(left)} ${units[at]}`;
}

/** A value whose measurement is not at hand: at most two decimals, none that say nothing. */
export function plain(value: number | null | undefined): string {
  if (value == null || !Number.isFinite(value)) return "–";
  return figure(value, (Math.round(Math.abs(value) * 100) / 100).toString().split(".")[1]?.length ?? 0);
}
