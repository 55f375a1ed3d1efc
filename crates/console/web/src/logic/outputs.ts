// What an output is and stands like, without words.

import type { Command, Output } from "../api/view";

/** Two positions and nothing between. */
export const isSwitch = (output: Pick<Output, "min" | "max" | "unit">): boolean => output.min === 0 && output.max === 1 && !output.unit;

/** Which on-times a person may choose, in seconds: the usual ones within the output's limit, and the limit itself. */
export function times(limit: number | null): number[] {
  const usual = [60, 300, 600, 1800, 3600, 7200].filter((s) => limit == null || s < limit);
  return limit == null ? usual : [...usual, limit];
}

/** Why the gateway would refuse to leave the safe value now. */
export const unmet = (output: Output) => output.conditions.filter((condition) => condition.holds !== "yes");

/** How it came out: what a person has to look at stands apart. */
export const OUTCOME: Record<Command["state"], "blue" | "ok" | "yellow" | "orange" | "no_data"> = {
  pending: "blue",
  done: "ok",
  refused: "yellow",
  failed: "orange",
  expired: "no_data",
};

/** Unique, and of the characters that the centre takes. */
export const newId = (now = Date.now(), random = crypto.getRandomValues(new Uint32Array(2))): string =>
  `web-${now.toString(36)}-${[...random].map((n) => n.toString(36)).join("")}`;
