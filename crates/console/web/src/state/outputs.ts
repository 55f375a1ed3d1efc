// What a base's gateways can switch, how it stands, and what was ordered.

import { computed, ref, shallowRef } from "vue";
import * as api from "../api/client";
import type { Command, Output } from "../api/view";

export const nameOf = (one: { gateway: string; device: string; point: string }): string => `${one.gateway}/${one.device}/${one.point}`;
const HISTORY_MAX = 50;

export function useOutputs() {
  const known = shallowRef<Map<string, Output>>(new Map());
  const history = shallowRef<Command[] | null>(null);
  const base = ref("");

  /** The page can do without: an older centre does not know of outputs. */
  async function read(id: string): Promise<void> {
    if (base.value !== id) history.value = null;
    base.value = id;
    const outputs = await api.outputs(id).then((answer) => answer.items, () => []);
    if (base.value === id) known.value = new Map(outputs.map((one) => [nameOf(one), one]));
  }

  function onOutputs(items: Output[]): void {
    known.value = new Map([...known.value, ...items.map((one) => [nameOf(one), one] as const)]);
    if (history.value) void readHistory();
  }

  /** Read when somebody first looks, and again with every news. */
  async function readHistory(): Promise<void> {
    const id = base.value;
    const list = await api.commands(id, HISTORY_MAX).then((answer) => answer.items, () => null);
    if (list && base.value === id) history.value = list;
  }

  /** A command is on its way: shown before the stream tells of it. */
  function onCommand(command: Command): void {
    const name = nameOf(command);
    const output = known.value.get(name);
    if (output && (!output.last || output.last.id !== command.id)) known.value = new Map(known.value).set(name, { ...output, last: command });
    if (history.value) void readHistory();
  }

  return { outputs: computed(() => [...known.value.values()]), history, read, onOutputs, readHistory, onCommand };
}

export type Outputs = ReturnType<typeof useOutputs>;
