// Corrections as a person made them: one act may have touched many readings.

import type { Correction } from "../api/view";

/** What one person said at one moment, of readings from the first to the last. */
export interface Act { id: number; made_at: string; by: string; note: string; from: string; to: string; count: number; first: Correction }

/** Corrections of one moment, by one person, for one reason are one act; the newest first, as they come. */
export function acts(list: Correction[]): Act[] {
  const found: Act[] = [];
  for (const one of list) {
    const last = found[found.length - 1];
    if (last && last.made_at === one.made_at && last.by === one.by && last.note === one.note) {
      last.count += 1;
      if (one.at < last.from) [last.from, last.first] = [one.at, one];
      if (one.at > last.to) last.to = one.at;
    } else {
      found.push({ id: one.id, made_at: one.made_at, by: one.by, note: one.note, from: one.at, to: one.at, count: 1, first: one });
    }
  }
  return found;
}
