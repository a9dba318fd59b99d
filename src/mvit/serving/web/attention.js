// Where the model looks, in colour over the video: asked for when it is wanted.

import { ask } from "./asking.js";
import { at, clock } from "./drawing.js";
import { seek, shown } from "./timeline.js";

const HEAT = [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]]; // as `mvit explain` draws

let signal = new AbortController().signal; // of what is on the page
let label = null; // of the headline: its class is the one explained
let facts = null; // what /explain said of it

/** Forget the video before; `ends` is its successor's. */
export function forget(ends) {
  [signal, label, facts] = [ends, null, null];
  at("explain").checked = false;
  tell();
}

/** From now on the headline says this label. */
export function headed(by) {
  if (by === label) return;
  [label, facts] = [by, null];
  wanted();
}

async function wanted() {
  tell();
  if (!at("explain").checked || facts || !label) return;
  const [asked, target] = [signal, label];
  const late = () => asked !== signal || target !== label;
  try {
    const answer = await ask(`explain?target=${encodeURIComponent(target)}`, shown.file, { signal });
    if (late()) return;
    facts = answer;
    tell();
  } catch (error) {
    if (late()) return;
    at("explain").checked = false;
    tell();
    at("explained").textContent = error.message;
  }
}

/** The seconds that the maps are of: each stands for half the time to its neighbours. */
function span() {
  const { times } = facts;
  const half = times.length > 1 ? (times.at(-1) - times[0]) / (times.length - 1) / 2 : 0;
  return [Math.max(times[0] - half, 0), times.at(-1) + half];
}

function tell() {
  const { checked } = at("explain");
  const on = checked && facts;
  const still = shown.kind === "picture";
  at("opacity").parentElement.hidden = !on;
  at("there").hidden = !on || still;
  at("explained").textContent = checked ? "Computing where the model looks." : "";
  if (on) {
    const [start, end] = span().map((one) => clock(one, shown.seconds));
    const when = start === end ? `the picture at ${start}` : `${start} to ${end}`;
    at("explained").textContent = `${facts.kind} for ${facts.label}: the brighter, the more.${still ? "" : ` It is of ${when}.`}`;
  }
  draw();
}

function draw() {
  const overlay = at("overlay");
  const still = shown.kind === "picture";
  const [start, end] = facts ? span() : [];
  overlay.hidden = !facts || !at("explain").checked || !(still || (start <= shown.time && shown.time <= end));
  if (overlay.hidden) return;
  const distances = facts.times.map((one) => Math.abs(one - shown.time));
  const map = facts.maps[still ? 0 : distances.indexOf(Math.min(...distances))];
  const [left, top, right, bottom] = facts.crop.map((one) => 100 * one);
  Object.assign(overlay, { width: map[0].length, height: map.length });
  Object.assign(overlay.style, { left: `${left}%`, top: `${top}%`, width: `${right - left}%`, height: `${bottom - top}%` });
  const pen = overlay.getContext("2d");
  const picture = pen.createImageData(overlay.width, overlay.height);
  map.flat().forEach((level, n) => picture.data.set([...colour(level), 255 * level * at("opacity").value], 4 * n));
  pen.putImageData(picture, 0, 0);
}

function colour(level) {
  const place = level * (HEAT.length - 1);
  const below = Math.min(Math.floor(place), HEAT.length - 2);
  return HEAT[below].map((value, channel) => value + (HEAT[below + 1][channel] - value) * (place - below));
}

at("explain").addEventListener("change", wanted);
at("opacity").addEventListener("input", draw);
at("there").addEventListener("click", () => {
  const [start, end] = span();
  if (start === end) at("video").pause(); // what is of one moment would be gone at once
  seek(start);
});
at("timeline").addEventListener("moved", draw);
