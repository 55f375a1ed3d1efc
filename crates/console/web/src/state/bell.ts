// A tone for red alerts, only after somebody has agreed to it on this page.

import { ref } from "vue";

export const agreed = ref(false);
let audio: AudioContext | null = null;

export function toggleBell(): void {
  agreed.value = !agreed.value;
  if (!agreed.value) return;
  audio ??= new AudioContext();
  void audio.resume();
  ring();
}

/** Two soft tones, one second in all. */
export function ring(): void {
  if (!agreed.value || !audio) return;
  for (const [k, hertz] of [660, 880].entries()) {
    const [tone, volume] = [audio.createOscillator(), audio.createGain()];
    const at = audio.currentTime + k * 0.35;
    tone.frequency.value = hertz;
    volume.gain.setValueAtTime(0, at);
    volume.gain.linearRampToValueAtTime(0.25, at + 0.03);
    volume.gain.exponentialRampToValueAtTime(0.001, at + 0.6);
    tone.connect(volume).connect(audio.destination);
    tone.start(at);
    tone.stop(at + 0.65);
  }
}
