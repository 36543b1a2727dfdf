// One image, large: its film, its parameters as a table, its file, and a link that repeats it.

import { altOf } from "./gallery.js";
import { film } from "./film.js";
import { byId, icon, make, written } from "./dom.js";
import { linkOf } from "./link.js";

const CLOSE = "M5 5l10 10M15 5L5 15";
const BACK = "M12 4l-6 6 6 6";
const ON = "M8 4l6 6-6 6";

/** Opens the dialog on image `at` of these; `uses(parameters)` is called to fill the controls with one. */
export function view(items, at, uses) {
  const dialog = byId("viewer");
  const show = (number) => {
    at = number;
    const focused = dialog.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
    dialog.replaceChildren(...contents(items, at, show, dialog, uses));
    // The keyboard stays where it was, or where it can leave.
    const buttons = [...dialog.querySelectorAll(".icon:not(:disabled)")];
    (buttons.find((button) => button.getAttribute("aria-label") === focused) ?? buttons.at(-1)).focus();
  };
  dialog.onkeydown = ({ key, target }) => {
    if (target.matches("input")) return;
    if (key === "ArrowLeft" && at > 0) show(at - 1);
    if (key === "ArrowRight" && at < items.length - 1) show(at + 1);
  };
  dialog.onclick = ({ target }) => {
    // Beside it. (To return false here would keep links from being followed.)
    if (target === dialog) dialog.close();
  };
  dialog.showModal();
  show(at);
}

function contents(items, at, show, dialog, uses) {
  const { url, moments, parameters } = items[at];
  const picture = make("img", { class: "large", src: url, alt: altOf(parameters) });
  const link = linkOf(repeated(parameters));
  const turn = (to, label, path) => make("button", { type: "button", class: "icon", "aria-label": label, disabled: !items[to], click: () => show(to) }, icon(path));
  const copy = make("button", { type: "button", class: "quiet" }, "Copy link");
  copy.addEventListener("click", async () => {
    await navigator.clipboard?.writeText(new URL(link, location.href).href);
    copy.textContent = "Copied";
  });
  return [
    make(
      "div", { class: "over" },
      make("h2", { id: "viewer-title" }, parameters.prompt || "No prompt"),
      make("span", { class: "turns" }, turn(at - 1, "The image before", BACK), turn(at + 1, "The next image", ON),
        make("button", { type: "button", class: "icon", "aria-label": "Close", click: () => dialog.close() }, icon(CLOSE))),
    ),
    make(
      "div", { class: "sides" },
      make("div", { class: "side" }, picture, moments.length > 1 ? film(moments.map(({ name }) => name), (number) => (picture.src = moments[number].url)) : null),
      make(
        "div", { class: "side" },
        make("table", {}, make("caption", { class: "unseen" }, "Parameters"), make("tbody", {}, ...rows(parameters))),
        make(
          "div", { class: "actions" },
          make("a", { class: "main", href: url, download: fileName(parameters) }, "Download"),
          make("a", { class: "quiet", href: link, click: () => dialog.close() }, "Repeat it"),
          copy,
          make("button", { type: "button", class: "quiet", click: () => (dialog.close(), uses(repeated(parameters))) }, "Use its parameters"),
        ),
        make("p", { class: "hint" }, "The file holds these parameters; Reproduce reads them."),
      ),
    ),
  ];
}

/** A request for this image alone. */
export function repeated({ prompt, seed, index, to_seed, share, sampler, steps, guidance, temperature, version, identity }) {
  const way = to_seed === null || to_seed === undefined ? {} : { to_seed, share };
  return { prompt, seed, index, count: 1, ...way, sampler, steps, guidance, temperature, model: version, identity };
}

function rows({ prompt, seed, index, to_seed: toSeed, share, sampler, steps, guidance, temperature, name, version, identity }) {
  const walk = toSeed === null || toSeed === undefined ? [] : [["To seed", toSeed], ["Share of the way", written(share)]];
  const all = [
    ["Prompt", prompt || "none"], ["Seed", seed], ["Image", index], ...walk, ["Sampler", sampler], ["Steps", steps],
    ["Guidance", guidance], ["Noise temperature", temperature], ["Model", [name, version && `version ${version}`].filter(Boolean).join(", ")], ["Weights", identity],
  ];
  return all.map(([what, value]) => make("tr", {}, make("th", { scope: "row" }, what), make("td", { class: what === "Weights" ? "identity" : null }, String(value ?? ""))));
}

/** "3-7-0.png": prompt, seed and index. */
function fileName({ prompt, seed, index, to_seed: toSeed, share }) {
  const told = (prompt || "no-prompt").replace(/[^\p{L}\p{N}.-]+/gu, "-").replace(/^-+|-+$/g, "").slice(0, 60);
  const walk = toSeed === null || toSeed === undefined ? "" : `-to-${toSeed}-${written(share)}`;
  return `${told}-${seed}-${index}${walk}.png`;
}
