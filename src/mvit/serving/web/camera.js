// The camera, in pieces that are files of their own.

const BITS_PER_SECOND = 1_000_000;
const REFUSED = {
  NotAllowedError: "The camera was refused: allow it for this page in the browser's settings, then start it again.",
  NotFoundError: "No camera was found: connect one, then start it again.",
  NotReadableError: "The camera cannot be opened: another program may be using it.",
};

/** A stream of pictures without sound. Fails with a sentence for people. */
export async function camera() {
  if (!navigator.mediaDevices || !window.MediaRecorder) {
    throw new Error("The browser gives the camera to pages from https or localhost alone: open this page there.");
  }
  try {
    const size = { width: { ideal: 640 }, height: { ideal: 480 } };
    return await navigator.mediaDevices.getUserMedia({ video: size, audio: false });
  } catch (error) {
    throw new Error(REFUSED[error.name] ?? `The camera cannot be used: ${error.message}.`);
  }
}

/** So many seconds from now on, each time by a new recorder: what one gives in pieces can be read only as a whole. */
export function piece(stream, seconds, signal) {
  return new Promise((done) => {
    const recorder = new MediaRecorder(stream, { videoBitsPerSecond: BITS_PER_SECOND });
    const stop = () => recorder.state === "inactive" || recorder.stop();
    recorder.addEventListener("dataavailable", ({ data }) => done(data), { once: true });
    signal.addEventListener("abort", stop, { once: true });
    recorder.start();
    setTimeout(stop, 1000 * seconds);
  });
}
