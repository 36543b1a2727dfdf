// From a PNG to its parameters, and to the same pixels again.

import { counted, make } from "./dom.js";
import { ask } from "./server.js";
import { short } from "./model.js";
import { canvasOf, difference, pixelsOf } from "./pixels.js";
import { parse } from "./json.js";

/** The record in a PNG: its parameters as the server reads them. */
export async function recordOf(file, signal) {
  const body = new Blob([file], { type: "image/png" });
  const { model, ...parameters } = parse(await (await ask("v1/record", { body, signal })).text());
  return { ...parameters, identity: model };
}

/** What to say where a file was made by another model than the one that draws it anew; null where it was not. */
export function stranger(made, draws) {
  if (made === draws) return null;
  return `The file was made by another model (${short(made)}) than the one that drew it anew (${short(draws)}), so other pixels are to be expected.`;
}

/** Both images, where they differ, and the verdict: {root, same}. */
export async function comparison(file, drawn, says) {
  const [before, after] = await Promise.all([pixelsOf(file), pixelsOf(drawn)]);
  const { pixels, differing, greatest, where } = difference(before, after);
  const same = differing === 0;
  const sized = where ? "" : ` They are ${before.width}×${before.height} and ${after.width}×${after.height}.`;
  const told = same
    ? `The same pixels: all ${pixels} of them.`
    : `Other pixels: ${differing} of ${counted(pixels, "pixel")} differ, by up to ${greatest} of 255.${sized}`;
  const shown = [["The file", before], ["Drawn anew", after], ...(where && !same ? [["Where they differ", where]] : [])];
  const root = make(
    "section", { class: "comparison" },
    make("p", { class: same ? "verdict same" : "verdict other", role: "status" }, told),
    says && make("p", { class: "says" }, says),
    make("div", { class: "tiles row", "data-count": "few" }, ...shown.map(([title, each]) => figure(title, each))),
  );
  return { root, same };
}

function figure(title, pixels) {
  const canvas = canvasOf(pixels);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", title);
  return make("figure", {}, canvas, make("figcaption", {}, title));
}
