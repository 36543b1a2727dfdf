// From a PNG to its parameters, and to the same pixels again.

import { counted, make } from "./dom.js";
import { ask } from "./server.js";
import { canvasOf, difference, pixelsOf } from "./pixels.js";
import { parse } from "./json.js";

/** The record in a PNG: its parameters as the server reads them. */
export async function recordOf(file, signal) {
  const body = new Blob([file], { type: "image/png" });
  const { model, ...parameters } = parse(await (await ask("v1/record", { body, signal })).text());
  return { ...parameters, identity: model };
}

/**
 * Who draws a record: {version, says}. The version whose weights are the record's, where there is one;
 * else the one that is served, and what to say of that.
 */
export function drawerOf({ identity }, model, models) {
  if (identity === model.identity) return { version: undefined, says: null };
  const made = models.find((each) => each.identity === identity);
  if (made) return { version: made.version, says: `Made by version ${made.version}, which draws it here.` };
  const short = identity.slice(0, 8);
  return { version: undefined, says: `Made by another model (${short}) than the one that is served (${model.identity.slice(0, 8)}), so other pixels are to be expected.` };
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
