import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { quantity } from "../src/i18n";
import { en } from "../src/i18n/en.ts";
import { zh, type Key } from "../src/i18n/zh.ts";

const keys = Object.keys(zh) as Key[];
const holes = (text: string) => [...text.matchAll(/\{\w+\}/g)].map(String).sort();

test("every key exists in both languages, with the same places to fill", () => {
  expect(Object.keys(en).sort()).toEqual([...keys].sort());
  for (const key of keys) expect(holes(en[key]), key).toEqual(holes(zh[key]));
});

test("no text is left in the other language", () => {
  const exceptions = ["lang.switch", "lang.label"];
  for (const key of keys) {
    if (exceptions.includes(key)) continue;
    expect(en[key], key).not.toMatch(/[\u4e00-\u9fff]/);
    if (/[A-Za-z]{4,}/.test(en[key].replace(/\{\w+\}/g, ""))) expect(zh[key], key).toMatch(/[\u4e00-\u9fff]/);
  }
});

test("every text is used", () => {
  const root = new URL("../src/", import.meta.url);
  const source = readdirSync(root, { recursive: true, encoding: "utf8" })
    .filter((file) => /\.(vue|ts)$/.test(file) && !/i18n.(zh|en)\.ts$/.test(file))
    .map((file) => readFileSync(new URL(file, root), "utf8"))
    .join("\n");
  const built = [...source.matchAll(/`([a-z]+\.[a-z_]*|\$\{kind\}\.)\$\{/g)].map(([, prefix]) => prefix!);
  const used = (key: string) => new RegExp(`["']${key.replace(".", "\\.")}["']`).test(source) || built.some((p) => key.startsWith(p)) || /^(age|span)\./.test(key);
  expect(keys.filter((key) => !used(key))).toEqual([]);
});

test("a quantity has its unit, and a limit of time is told in seconds or whole minutes", () => {
  const check = (value: number, unit: string | null, expected: string) => expect(quantity(value, unit)).toBe(expected);
  check(3000, "µS/cm", "3000 µS/cm");
  check(-4.2, "°C", "−4.2 °C");
  check(7, "", "7");
  check(7, null, "7");
  check(30_000, "ms", "30 秒");
  check(90_000, "ms", "90 秒");
  check(1_500, "ms", "1.5 秒");
  check(600_000, "ms", "10 分钟");
});
