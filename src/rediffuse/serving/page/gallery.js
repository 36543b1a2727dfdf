// Images in a grid, while they are drawn and afterwards; their film, and what a click on one of them opens.

import { film } from "./film.js";
import { fileOf } from "./pixels.js";
import { make, written } from "./dom.js";

const MOST_ACROSS = 10;

/**
 * A grid of images that are being drawn.
 * `title` stands above it, `row` makes it a row, `each` are the images of a variant of the prompt, which stand side by side,
 * `opens(items, at)` is called with a click.
 */
export function gallery({ title = null, row = false, each = 1, opens }) {
  const tiles = make("div", { class: row ? "tiles row" : "tiles" });
  const below = make("div", { class: "below" });
  const root = make("section", { class: "gallery" }, title && make("h2", {}, title), tiles, below);
  const moments = [];
  const urls = [];

  /** So many tiles, empty as long as nothing is known of them. */
  function expect(count) {
    if (tiles.childElementCount === count) return;
    const across = count > each && each > 1 && each <= MOST_ACROSS;
    tiles.classList.toggle("variants", across);
    if (across) tiles.style.setProperty("--across", each);
    tiles.dataset.count = count > 16 ? "many" : count > 4 ? "some" : count > 1 ? "few" : "one";
    tiles.replaceChildren(...Array.from({ length: count }, () => make("button", { type: "button", class: "tile waiting", disabled: true })));
  }

  function show(sources) {
    [...tiles.children].forEach((tile, at) => {
      const image = tile.querySelector("img") ?? tile.insertBefore(make("img", { alt: "" }), tile.firstChild);
      image.src = sources[at];
      tile.classList.remove("waiting");
    });
  }

  /** A moment on the way. */
  function step({ done, of, level, images }) {
    const sources = images.map((base64) => `data:image/png;base64,${base64}`);
    moments.push({ done, of, name: `step ${done} of ${of}, noise ${short(level)}`, sources });
    expect(images.length);
    show(sources);
  }

  /** What came of it: gives the items, {url, file, parameters, moments}. */
  function finish(answer) {
    const items = answer.images.map(({ png, ...parameters }, at) => {
      const file = fileOf(png);
      urls.push(URL.createObjectURL(file));
      const { model: identity, name, version } = answer;
      return { file, url: urls.at(-1), parameters: { ...parameters, identity, name, version }, at };
    });
    if (moments.at(-1)?.done === moments.at(-1)?.of) moments.pop();
    moments.push({ name: "the images", sources: items.map(({ url }) => url) });
    expect(items.length);
    items.forEach((item, at) => {
      item.moments = moments.map(({ name, sources }) => ({ name, url: sources[at] }));
      const tile = tiles.children[at];
      tile.disabled = false;
      tile.append(make("span", { class: "caption" }, captionOf(item.parameters)));
      tile.addEventListener("click", () => opens(items, at));
    });
    keep();
    [...tiles.children].forEach((tile, at) => {
      tile.querySelector("img").alt = altOf(items[at].parameters);
      tile.setAttribute("aria-label", `${altOf(items[at].parameters)}: open`);
    });
    return items;
  }

  /** The film of what was seen so far, with which one goes back. */
  function keep() {
    if (moments.length > 1) below.append(film(moments.map(({ name }) => name), (number) => show(moments[number].sources)));
  }

  return { root, below, expect, step, finish, keep, free: () => urls.forEach((url) => URL.revokeObjectURL(url)) };
}

/** What is written below an image. */
function captionOf({ prompt, index, to_seed: toSeed, share }) {
  return `${prompt || "no prompt"} · ${toSeed === null || toSeed === undefined ? `#${index}` : written(share)}`;
}

export function altOf({ prompt, seed, index, to_seed: toSeed, share }) {
  const way = toSeed === null || toSeed === undefined ? "" : `, ${written(share)} of the way to seed ${toSeed}`;
  return `${prompt || "an image without a prompt"}, seed ${seed}, image ${index}${way}`;
}

const short = (level) => (typeof level === "number" && level > 0 ? Number(level.toPrecision(2)).toString() : "0");
