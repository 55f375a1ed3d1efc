// What is long is printed from frame to frame, so that a click is answered before its last line is there.

import { onScopeDispose, ref, watch, type Ref } from "vue";

const PAUSE_MS = 24;

/** How many of `list` to show: `step` at once, then as many more again and again. Begins anew with another list. */
export function useGrowing(list: () => readonly unknown[], step: number): Ref<number> {
  const shown = ref(step);
  let growing = 0;
  const grow = () => {
    window.clearTimeout(growing);
    if (shown.value >= list().length) return;
    growing = window.setTimeout(() => {
      shown.value += step;
      grow();
    }, PAUSE_MS);
  };
  watch(
    list,
    () => {
      shown.value = step;
      grow();
    },
    { immediate: true },
  );
  onScopeDispose(() => window.clearTimeout(growing));
  return shown;
}
