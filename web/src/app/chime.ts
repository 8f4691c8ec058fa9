/** Two soft tones, made on the spot: no file to load. */
export function chime(): void {
  try {
    const audio = new AudioContext();
    tone(audio, 660, 0);
    tone(audio, 880, 0.12);
    setTimeout(() => void audio.close(), 1000);
  } catch {
    // A browser without sound still shows the notice.
  }
}

function tone(audio: AudioContext, hertz: number, after_s: number): void {
  const begins = audio.currentTime + after_s;
  const voice = audio.createOscillator();
  const volume = audio.createGain();
  voice.frequency.value = hertz;
  volume.gain.setValueAtTime(0.0001, begins);
  volume.gain.exponentialRampToValueAtTime(0.08, begins + 0.02);
  volume.gain.exponentialRampToValueAtTime(0.0001, begins + 0.35);
  voice.connect(volume).connect(audio.destination);
  voice.start(begins);
  voice.stop(begins + 0.4);
}
