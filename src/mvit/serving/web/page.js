// The page of `mvit serve`: a video, a picture or the camera, and what the model says of it.

import { ask } from "./asking.js";
import { forget, headed } from "./attention.js";
import { camera, piece } from "./camera.js";
import { at, bars, best, clock, counted, headline, progress, say } from "./drawing.js";
import { CHUNK_SECONDS, WINDOWS, draw, show, shown, start } from "./timeline.js";

const TOP = "top=5";
const SQUARE = "The model sees the middle square of the picture."; // by one crop
const PASSING = [0, 408, 502, 503, 504]; // the connection, or the server at this moment, and not the file
const video = at("video");
const picture = at("picture");

let model; // what /model says
let working = new AbortController(); // ends what is being done
let address = ""; // of the file in the browser's memory

const megabytes = (bytes) => `${Number((bytes / 1e6).toFixed(1))} MB`;

// ---- a file ---------------------------------------------------------------------------------------------------------

async function look(file) {
  const signal = begin({ file, kind: file.type.startsWith("image/") ? "picture" : "video" });
  try {
    await check(file);
    if (signal.aborted) return;
  } catch (error) {
    fail(error.message, "other");
    return;
  }
  display(file);
  say(`Sending ${file.name}`);
  try {
    await classify(file, signal);
  } catch (error) {
    if (!signal.aborted) fail(error.message, PASSING.includes(error.status) ? "again" : "other");
  }
}

async function check(file) {
  if (!file.size) throw new Error(`The file ${file.name} is empty.`);
  if (file.size > model.limits.bytes) {
    const most = `${megabytes(file.size)}, and this server takes ${megabytes(model.limits.bytes)} at most`;
    throw new Error(`The file ${file.name} has ${most}: choose a shorter or a smaller one.`);
  }
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    throw new Error(`The file ${file.name} cannot be read: it is a folder, or it is no longer there.`);
  }
}

/** One clip from the middle is the quickest answer; what the model's own views say and the timeline come after it. */
async function classify(file, signal) {
  const sent = (share) => {
    progress(share < 1 ? share : null);
    if (share === 1 && !shown.sent) say("Computing");
    shown.sent ||= share === 1; // what is sent again need not be told again
  };
  const quick = await ask(`predict?views=1x1&${TOP}`, file, { signal, sent });
  const final = quick.protocol === model.protocol;
  whole(quick, final ? quick.protocol : "so far, from its middle alone", 1);
  if (!final) {
    const answer = await ask(`predict?${TOP}`, file, { signal, sent });
    whole(answer, answer.protocol, model.views[1]);
  }
  let done = "Done.";
  if (shown.kind === "video") {
    say(`${at("headline").textContent}. The timeline follows.`);
    await ask(`segments?${WINDOWS}&${TOP}`, file, { signal, sent, lines: take });
    if (!shown.segments) throw Object.assign(new Error("The server's answer broke off."), { status: 0 });
    done = `Done: ${counted(shown.segments.length, "segment")} in a video of ${clock(shown.seconds, shown.seconds)}.`;
  }
  say(done);
  idle();
}

function whole({ scores }, how, crops) {
  headline(scores, `The whole ${shown.kind}: ${how}.${crops === 1 ? ` ${SQUARE}` : ""}`);
  headed(best(scores)[0]);
  bars(at("whole"), scores);
}

/** Lines of /segments: windows, and at last the segments. */
function take(lines) {
  for (const one of lines) {
    if (one.segments) Object.assign(shown, { segments: one.segments, seconds: one.duration });
    else shown.windows.push(one);
  }
  const end = shown.windows.at(-1)?.end ?? 0;
  shown.seconds = Math.max(shown.seconds, end);
  progress(shown.length ? end / shown.length : null);
  draw();
}

function display(file) {
  const still = shown.kind === "picture";
  address = URL.createObjectURL(file);
  (still ? picture : video).src = address;
  picture.hidden = !still;
  video.hidden = at("timed").hidden = at("words").hidden = at("moment").hidden = still;
  at("attention").hidden = !model.explains;
  at("whole-title").textContent = `Whole ${shown.kind}`;
  at("result").hidden = false;
}

function fits(width, height) {
  at("stage").style.setProperty("--ratio", width / height);
}

function unplayable() {
  at("stage").hidden = at("attention").hidden = true;
  const what = shown.kind === "picture" ? "show this picture" : "play this video";
  at("unplayable").textContent = `This browser cannot ${what}. Its labels are shown all the same.`;
  at("unplayable").hidden = false;
  at("play").hidden = true;
}

// ---- the camera -----------------------------------------------------------------------------------------------------

async function watch() {
  const signal = begin({ kind: "camera", follows: true });
  say("Waiting for the camera");
  try {
    const stream = await camera();
    const [track] = stream.getTracks();
    if (signal.aborted) return track.stop();
    signal.addEventListener("abort", () => track.stop(), { once: true });
    track.addEventListener("ended", () => fail("The camera was disconnected: connect it, then start it again."));
    video.srcObject = stream;
    start();
    at("stop").textContent = "Stop the camera";
    at("play").hidden = at("attention").hidden = at("all").hidden = true;
    at("result").hidden = false;
    say("The camera is on.");
    progress(undefined);
    await label(stream, signal);
  } catch (error) {
    if (!signal.aborted) fail(error.message);
  }
}

async function label(stream, signal) {
  const began = performance.now();
  let asked = null;
  let said = "";
  const leaveOut = (why) => Object.assign(shown, { skipped: shown.skipped + 1, why });
  const one = async (data, since, until) => {
    try {
      const { scores } = await ask(`predict?views=1x1&${TOP}`, data, { signal });
      shown.windows.push({ start: since, end: until, scores });
      headline(scores, `The camera, the last ${CHUNK_SECONDS} seconds. ${SQUARE}`);
      if (best(scores)[0] !== said) say((said = best(scores)[0]));
    } catch (error) {
      if (signal.aborted) return;
      if (!error.status) fail(error.message);
      leaveOut(error.message); // the next may go better: a camera that has just begun, or a full queue
    }
    asked = null;
    draw();
  };
  while (!signal.aborted) {
    const since = shown.seconds;
    const data = await piece(stream, CHUNK_SECONDS, signal);
    if (signal.aborted) return;
    shown.seconds = (performance.now() - began) / 1000;
    if (asked) leaveOut("the one before it was still being looked at"); // the newest is worth more than a queue
    else if (!data.size) leaveOut("it was empty");
    else asked = one(data, since, shown.seconds);
    draw();
  }
}

// ---- beginning and ending -------------------------------------------------------------------------------------------

function begin(what) {
  const retried = at("problem").contains(document.activeElement);
  working.abort();
  working = new AbortController();
  video.pause();
  video.srcObject = null;
  for (const element of [video, picture]) element.removeAttribute("src");
  URL.revokeObjectURL(address);
  for (const id of ["result", "again", "other", "unplayable", "picture"]) at(id).hidden = true;
  at("result").classList.add("waiting");
  at("headline").textContent = "Looking";
  at("said").textContent = "The first label is on its way.";
  for (const id of ["video", "stage", "timed", "words", "moment", "all", "play", "stop"]) at(id).hidden = false;
  at("stop").textContent = "Cancel";
  if (retried) at("stop").focus(); // the keyboard does not lose its place with the button that goes
  at("sentence").textContent = "";
  at("drop").classList.add("used");
  show(what);
  forget(working.signal);
  progress(null);
  return working.signal;
}

function idle() {
  progress(undefined);
  if (document.activeElement === at("stop")) at("choose").focus();
  at("stop").hidden = true;
}

function stop() {
  working.abort();
  say(shown.kind === "camera" ? "The camera is off." : "Cancelled.");
  end();
}

/** `offered` is the button that may help. */
function fail(sentence, offered = "") {
  working.abort();
  say("");
  at("sentence").textContent = sentence;
  for (const id of ["again", "other"]) at(id).hidden = id !== offered;
  end();
}

function end() {
  idle();
  if (at("result").classList.contains("waiting")) at("result").hidden = true;
  if (shown.kind === "camera") at("stage").hidden = true;
}

for (const id of ["choose", "other"]) at(id).addEventListener("click", () => at("file").click());
at("file").addEventListener("change", () => {
  const [file] = at("file").files;
  if (file) look(file);
  at("file").value = ""; // so that the same file can be chosen again
});
at("camera").addEventListener("click", watch);
at("stop").addEventListener("click", stop);
at("again").addEventListener("click", () => look(shown.file));

document.addEventListener("dragover", (event) => {
  event.preventDefault();
  at("drop").classList.add("over");
});
document.addEventListener("dragleave", (event) => event.relatedTarget || at("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  at("drop").classList.remove("over");
  const { files } = event.dataTransfer;
  if (!model || !files.length) return;
  if (files.length > 1) fail(`Drop one file at a time: these were ${files.length}.`, "other");
  else look(files[0]);
});

video.addEventListener("loadedmetadata", () => {
  fits(video.videoWidth || 16, video.videoHeight || 9);
  if (shown.kind !== "video") return;
  if (!video.videoWidth) return unplayable(); // it would play the sound alone
  if (Number.isFinite(video.duration)) shown.seconds = shown.length = video.duration;
  draw();
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) start();
});
for (const element of [video, picture]) element.addEventListener("error", () => shown.file && unplayable());
picture.addEventListener("load", () => fits(picture.naturalWidth, picture.naturalHeight));

async function meet() {
  const answer = await fetch("model");
  if (!answer.ok) throw new Error(`it answered ${answer.status}`);
  model = await answer.json();
  at("name").textContent = model.name;
  document.title = `${model.name} · mvit`;
  at("about").textContent = `${counted(model.classes.length, "class", "classes")}; ${model.protocol}`;
  const still = model.clip[0] === 1;
  if (still) {
    at("drop-here").textContent = "Drop a picture here";
    at("choose").textContent = "Choose a picture";
    at("file").accept = at("file").accept.replace("video/*,", "");
  }
  const pixels = `${Number((model.limits.pixels / 1e6).toFixed(1))} million pixels`;
  at("limits").textContent = `Up to ${megabytes(model.limits.bytes)}${still ? ` and ${pixels}.` : ". A picture will do, too."}`;
  at("version").textContent = `, mvit ${model.version}`;
  at("choose").disabled = at("camera").disabled = false;
}

meet().catch((error) => fail(`The server does not say which model it has (${error.message}): reload this page.`));
