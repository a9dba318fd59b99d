// What is on the page, its windows and segments beneath the video, and the moment under the playhead.

import { at, bars, best, clock, counted, make, percent } from "./drawing.js";

export const CHUNK_SECONDS = 2; // of the camera, each classified by itself
export const WINDOWS = "window=2s&stride=0.5s"; // as rule() says
const STEP_SECONDS = 0.5; // that an arrow key moves
const COLOURS = 6; // in page.css; as many labels again have them hatched
const LANE_REM = 2.1;
const ROUNDED_SECONDS = 0.002; // the server rounds to thousandths
const TOGETHER_SECONDS = 0.1; // pieces of the camera that follow one another are milliseconds apart

const video = at("video");
const timeline = at("timeline");

/** `kind` is "video", "picture" or "camera"; `windows` have `start`, `end` and `scores`; `segments` come last. */
export const shown = { kind: "video", windows: [] };

export function show(what) {
  for (const key of Object.keys(shown)) delete shown[key];
  const nothing = { windows: [], segments: null, seconds: 0, time: 0, follows: false, skipped: 0, labels: [] };
  Object.assign(shown, nothing, what);
  draw();
}

/** The windows, each with the time that it stands for: up to half way to the middles of its neighbours. */
function slots() {
  const middles = shown.windows.map((one) => (one.start + one.end) / 2);
  const between = (n) => (middles[n] + middles[n + 1]) / 2;
  return shown.windows.map((one, n) => ({
    ...one,
    from: n ? Math.max(one.start, between(n - 1)) : one.start, // where a piece is left out, there is a gap
    to: n + 1 < middles.length ? Math.min(one.end, between(n)) : one.end,
  }));
}

/** Neighbours of one first label, for as long as the server has not said the segments. */
function merged() {
  const found = [];
  for (const { from, to, scores } of slots()) {
    const [label, score] = best(scores);
    const last = found.at(-1);
    if (last?.label === label && Math.abs(last.end - from) < TOGETHER_SECONDS) {
      last.scores.push(score);
      last.end = to;
    } else {
      found.push({ start: from, end: to, label, scores: [score] });
    }
  }
  return found.map(({ scores, ...one }) => ({ ...one, score: scores.reduce((a, b) => a + b) / scores.length }));
}

const segments = () => shown.segments ?? merged();

export function draw() {
  const lanes = []; // where each ends so far: of several classes at once, segments overlap
  const found = segments();
  at("lanes").replaceChildren(
    ...found.map((one) => {
      const free = lanes.findIndex((end) => end <= one.start + 1e-6);
      const lane = free < 0 ? lanes.length : free;
      lanes[lane] = one.end;
      const title = `${one.label}, ${percent(one.score)}`;
      const element = coloured(make("div", { className: "segment", title }, one.label), one.label);
      element.style.left = share(one.start);
      element.style.width = share(one.end - one.start);
      element.style.top = `${LANE_REM * lane}rem`;
      return element;
    }),
  );
  at("lanes").style.height = `${LANE_REM * Math.max(lanes.length, 1)}rem`;
  timeline.classList.toggle("provisional", !shown.segments);
  inWords(found);
  move(shown.follows ? (shown.windows.at(-1)?.end ?? 0) : shown.time);
}

function inWords(found) {
  at("rule").textContent = rule(found);
  at("segments").hidden = !found.length;
  at("segments").tBodies[0].replaceChildren(
    ...found.map(({ start, end, label, score }) => {
      const go = make("button", { type: "button", onclick: () => seek(start) }, clock(start, shown.seconds));
      const swatch = coloured(make("span", { className: "swatch" }), label);
      const until = make("td", {}, clock(end, shown.seconds));
      return make("tr", {}, make("td", {}, go), until, make("td", {}, swatch, label), make("td", { className: "n" }, percent(score)));
    }),
  );
}

function rule(found) {
  if (shown.kind === "camera") {
    const skipped = ` ${counted(shown.skipped, "was", "were")} left out, the last because of this: ${shown.why}.`;
    return `Pieces of ${CHUNK_SECONDS} s, each by itself; neighbours of one label put together.${shown.skipped ? skipped : ""}`;
  }
  if (!shown.segments) return "So far: segments are drawn by the highest score until all windows are known.";
  if (!found.length) return "Windows of 2 s, each by itself: in none is the model sure enough of a label.";
  const unsure = gaps(found) ? " In gaps the model is not sure enough." : "";
  return `Windows of 2 s, each by itself; neighbours of one label put together.${unsure}`;
}

function gaps(found) {
  let end = 0; // so far: of several classes at once, segments overlap
  return [...found, { start: shown.seconds }].some((one) => {
    const gap = one.start > end + ROUNDED_SECONDS;
    end = Math.max(end, one.end);
    return gap;
  });
}

function coloured(element, label) {
  if (!shown.labels.includes(label)) shown.labels.push(label);
  const number = shown.labels.indexOf(label) % (2 * COLOURS);
  element.dataset.colour = number % COLOURS;
  element.classList.toggle("hatched", number >= COLOURS);
  return element;
}

const share = (seconds) => `${shown.seconds ? (100 * seconds) / shown.seconds : 0}%`;

// ---- the playhead ---------------------------------------------------------------------------------------------------

function move(seconds) {
  shown.time = Math.min(Math.max(seconds, 0), shown.seconds);
  at("playhead").style.left = share(shown.time);
  at("clock").textContent = `${clock(shown.time, shown.seconds)} of ${clock(shown.seconds, shown.seconds)}`;
  const slot = slots().findLast((one) => one.from <= shown.time && shown.time <= one.to);
  if (slot?.start !== shown.slot || !slot || video.paused) tell(slot); // while it plays, not at every frame
  timeline.dispatchEvent(new Event("moved"));
}

function tell(slot) {
  shown.slot = slot?.start;
  const [now, start, end] = [shown.time, slot?.start, slot?.end].map((one) => clock(one ?? 0, shown.seconds));
  bars(at("now"), slot?.scores ?? {});
  at("now-title").textContent = slot ? `From ${start} to ${end}` : "This moment";
  timeline.setAttribute("aria-valuemax", shown.seconds.toFixed(2));
  timeline.setAttribute("aria-valuenow", shown.time.toFixed(2));
  timeline.setAttribute("aria-valuetext", slot ? `${now}: ${best(slot.scores)[0]}, ${percent(best(slot.scores)[1])}` : now);
}

export function seek(seconds) {
  const within = Math.min(Math.max(seconds, 0), shown.seconds);
  shown.follows = shown.kind === "camera" && within === shown.seconds;
  if (shown.kind === "video" && video.readyState) video.currentTime = within;
  delete shown.slot; // it is told anew, also while the video plays on
  move(within);
}

function follow() {
  if (shown.kind === "video") move(video.ended ? shown.seconds : video.currentTime); // browsers count less of the last frame
  if (!video.paused) requestAnimationFrame(follow);
}

/** Play; what keeps it from playing, such as a pause at once or a browser's settings, leaves the button to press. */
export const start = () => video.play().catch(() => {});

function play() {
  if (shown.kind !== "video" || at("play").hidden) return;
  if (video.paused) start();
  else video.pause();
}

const after = () => segments().find((one) => one.start > shown.time + 0.05)?.start ?? shown.seconds;
const before = () => segments().findLast((one) => one.start < shown.time - 0.05)?.start ?? 0;
const KEYS = {
  ArrowRight: () => shown.time + STEP_SECONDS,
  ArrowUp: () => shown.time + STEP_SECONDS,
  ArrowLeft: () => shown.time - STEP_SECONDS,
  ArrowDown: () => shown.time - STEP_SECONDS,
  PageDown: after,
  PageUp: before,
  Home: () => 0,
  End: () => shown.seconds,
};

let playing = false; // when the pointer came down

function drag(event) {
  const { left, width } = timeline.getBoundingClientRect();
  seek(((event.clientX - left) / width) * shown.seconds);
  if (playing && video.paused && shown.time < shown.seconds) start(); // it was dragged to the end, and back again
}

timeline.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return; // the browser's
  if (event.key === " ") play();
  else if (event.key in KEYS) seek(KEYS[event.key]());
  else return;
  event.preventDefault();
});
timeline.addEventListener("pointerdown", (event) => {
  timeline.setPointerCapture(event.pointerId);
  playing = shown.kind === "video" && !video.paused;
  drag(event);
});
timeline.addEventListener("pointermove", (event) => event.buttons && drag(event));
at("play").addEventListener("click", play);
video.addEventListener("click", play);
video.addEventListener("play", () => {
  at("play").textContent = "Pause";
  follow();
});
video.addEventListener("pause", () => (at("play").textContent = "Play"));
