// A walk from one seed to another: its images as a row, and as a film.

import { film } from "./film.js";
import { make, written } from "./dom.js";

/** The film of a walk's items, to stand beside its row. */
export function filmOf(items) {
  const picture = make("img", { alt: "The walk" });
  const names = items.map(({ parameters }) => `${written(parameters.share)} of the way`);
  const strip = film(names, (number) => {
    picture.src = items[number].url;
    picture.alt = `The walk, ${names[number]}`;
  }, "Film of the walk");
  return make("div", { class: "walk" }, picture, strip);
}
