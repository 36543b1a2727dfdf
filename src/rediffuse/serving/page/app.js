// The page: joins controls, server and galleries.

import { askJson, tokensFrom } from "./server.js";
import { askToken } from "./token.js";
import { byId, say } from "./dom.js";
import { comparison, recordOf, stranger } from "./reproduce.js";
import { controlsOf } from "./controls.js";
import { draw, outcome } from "./draw.js";
import { filmOf } from "./walk.js";
import { gallery } from "./gallery.js";
import { linkOf, parametersOf } from "./link.js";
import { promptLine } from "./prompt.js";
import { short, titleOf } from "./model.js";
import { view } from "./viewer.js";

const NARROW = "(max-width: 52rem)";

tokensFrom(askToken);
start().catch((error) => say(byId("problem"), told(error)));

async function start() {
  byId("settings").open = !matchMedia(NARROW).matches;
  const [model, { models }] = await Promise.all([askJson("v1/model"), askJson("v1/models")]);
  const controls = controlsOf(model, models);
  byId("served").textContent = `${titleOf(model)} · ${short(model.identity)} · ${model.shape[2]}×${model.shape[1]} pixels`;
  say(byId("trouble"), model.trouble);
  setUpPixels();
  promptLine(model, () => byId("model").value || undefined, (error) => (error ? controls.problem("prompt", told(error)) : null));
  const studio = studioOf(model, models, controls);
  setUpFiles(controls, studio);

  byId("form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (controls.mode() === "reproduce") studio.again();
    else studio.draws();
  });
  byId("cancel").addEventListener("click", studio.cancel);
  const fromLink = () => {
    const given = parametersOf(location.hash);
    if (!given) return;
    if (controls.mode() === "reproduce") controls.go("draw");
    controls.fill(given);
    studio.draws(given.identity);
  };
  addEventListener("hashchange", fromLink);
  document.documentElement.dataset.ready = "yes";
  fromLink();
}

/** What draws, one thing at a time. */
function studioOf(model, models, controls) {
  let [stop, grids, file, made] = [null, [], null, null];
  const uses = (parameters) => {
    if (controls.mode() === "reproduce") controls.go("draw");
    controls.fill(parameters);
  };
  const grid = (options = {}) => gallery({ ...options, opens: (items, at) => view(items, at, uses) });

  /** Runs some work with the progress, the cancel button and the errors around it. */
  async function work(does) {
    stop?.abort();
    const mine = (stop = new AbortController());
    const started = performance.now();
    controls.clear();
    say(byId("problem"), null);
    byId("welcome").hidden = true;
    busy(true);
    try {
      const text = await does(mine.signal, () => (performance.now() - started) / 1000);
      if (mine === stop) byId("status").textContent = text;
    } catch (error) {
      if (mine !== stop) return;
      byId("status").textContent = mine.signal.aborted ? "Cancelled." : "";
      if (!mine.signal.aborted) shows(error);
    } finally {
      if (mine === stop) busy(false);
    }
  }

  function place(...galleries) {
    grids.forEach((each) => each.free());
    grids = galleries;
    const shown = byId("shown");
    shown.classList.toggle("beside", galleries.length > 1);
    shown.replaceChildren(...galleries.map((each) => each.root));
  }

  function shows(error, field = error.field) {
    if (!(field && controls.problem(field, told(error)))) say(byId("problem"), told(error));
  }

  /** Draws what the controls say; `identity` is the model that a link expects. */
  function draws(identity = null) {
    const request = controls.request();
    const mode = controls.mode();
    return work(async (signal, seconds) => {
      if (mode === "compare") return compares(request, signal, seconds);
      const walks = mode === "walk";
      const one = grid({ row: walks && request.share === undefined, each: request.count });
      place(one);
      const answer = await draw(request, one, { signal, tells });
      remember({ ...request, seed: answer.seed });
      if (walks && answer.items.length > 1) one.root.prepend(filmOf(answer.items));
      if (identity && identity !== answer.model) {
        say(byId("problem"), `The link is of another model (${short(identity)}) than the one that drew this (${short(answer.model)}), so other pixels are to be expected.`);
      }
      return outcome(answer, seconds());
    });
  }

  async function compares(request, signal, seconds) {
    const beside = controls.beside();
    const first = models.find(({ version }) => version === request.model) ?? model;
    const second = models.find(({ version }) => version === beside);
    if (!second) {
      controls.problem("beside", "There is no other model to compare with.");
      return "";
    }
    const both = [grid({ title: titleOf(first) }), grid({ title: titleOf(second) })];
    place(...both);
    const answers = await Promise.allSettled([
      draw(request, both[0], { signal, tells }),
      draw({ ...request, model: beside }, both[1], { signal, tells: () => {} }),
    ]);
    const [one, other] = answers.map(({ value }) => value);
    if (!one) throw answers[0].reason;
    if (!other) {
      if (!signal.aborted) shows(answers[1].reason, "beside");
      throw answers[1].reason;
    }
    remember({ ...request, seed: one.seed, beside });
    return `${outcome(one, seconds())} Beside it, the same request by version ${beside}.`;
  }

  /** Draws the file's image anew and compares; null: what the controls say now, with the last file. */
  function reproduces(given) {
    controls.go("reproduce");
    return work(async (signal, seconds) => {
      const one = grid();
      place();
      if (given) {
        made = await recordOf(given, signal);
        file = given;
        controls.fill({ ...made, count: 1 });
      }
      // A point of a walk stays one, though these controls are not seen here.
      const way = made.to_seed === null ? {} : { to_seed: BigInt(made.to_seed), share: made.share };
      const nothing = given && made.prompt === "" ? { prompt: "" } : {};
      place(one);
      const answer = await draw({ ...controls.request(), ...way, ...nothing, count: 1 }, one, { signal, tells });
      const { root } = await comparison(file, answer.items[0].file, stranger(made.identity, answer.model));
      byId("shown").prepend(root);
      return outcome(answer, seconds());
    });
  }

  return {
    draws,
    reproduces,
    again: () => (file ? reproduces(null) : byId("file").click()),
    cancel: () => stop?.abort(),
  };
}

/** The address repeats what is shown. */
function remember(request) {
  history.replaceState(null, "", linkOf(request));
}

function tells(text, share) {
  byId("status").textContent = text;
  if (share === null) byId("progress").removeAttribute("value");
  else byId("progress").value = share;
}

function busy(is) {
  const [draws, cancels] = [byId("draw"), byId("cancel")];
  const [from, to] = is ? [draws, cancels] : [cancels, draws];
  const focused = document.activeElement === from;
  draws.hidden = is;
  cancels.hidden = !is;
  byId("progress").hidden = !is;
  byId("results").setAttribute("aria-busy", String(is));
  if (focused) to.focus();
}

function setUpPixels() {
  const show = () => (document.documentElement.dataset.pixels = byId("pixelated").checked ? "sharp" : "smooth");
  byId("pixelated").addEventListener("change", show);
  show();
}

/** A PNG that is chosen, or dropped anywhere on the page. */
function setUpFiles(controls, studio) {
  byId("file").addEventListener("change", ({ target }) => {
    const [file] = target.files;
    target.value = "";
    if (file) studio.reproduces(file);
  });
  addEventListener("dragover", (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    controls.go("reproduce");
    byId("drop").classList.add("over-it");
  });
  addEventListener("dragleave", (event) => event.relatedTarget || byId("drop").classList.remove("over-it"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    byId("drop").classList.remove("over-it");
    const [file] = event.dataTransfer.files;
    if (file) studio.reproduces(file);
  });
}

/** An error as one or two sentences. */
function told({ message, allowed }) {
  if (!allowed) return message;
  return `${message}. Allowed: ${allowed}.`;
}
