// Elements of the page, and scores in them.

const TOP = 5;

export const at = (id) => document.getElementById(id);
export const percent = (score) => `${(100 * score).toFixed(1)} %`;
export const counted = (number, one, many = `${one}s`) => `${number} ${number === 1 ? one : many}`;

/** A moment: 2.50 s, or 1:02.50 in a video of a minute or more. */
export function clock(seconds, of) {
  if (of < 60) return `${seconds.toFixed(2)} s`;
  const hundredths = Math.round(100 * seconds);
  return `${Math.floor(hundredths / 6000)}:${((hundredths % 6000) / 100).toFixed(2).padStart(5, "0")}`;
}

/** The label of the highest score, and that score. */
export function best(scores) {
  return Object.entries(scores).reduce((most, one) => (one[1] > most[1] ? one : most));
}

export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export function bars(list, scores) {
  const rows = Object.entries(scores).sort((a, b) => b[1] - a[1]).slice(0, TOP);
  list.replaceChildren(
    ...rows.map(([label, score]) => {
      const fill = make("span");
      fill.style.width = `${100 * score}%`;
      const value = make("span", { className: "value" }, percent(score));
      return make("li", {}, make("span", {}, label), value, make("div", { className: "bar" }, fill));
    }),
  );
}

export function headline(scores, said) {
  const [label, score] = best(scores);
  at("headline").replaceChildren(label, " ", make("small", {}, percent(score)));
  at("said").textContent = said;
  at("result").classList.remove("waiting");
}

export const say = (sentence) => (at("status").textContent = sentence);

/** A share of 1; null while nobody knows which; undefined when nothing goes on. */
export function progress(share) {
  at("progress").hidden = share === undefined;
  if (share == null) at("progress").removeAttribute("value");
  else at("progress").value = share;
}
