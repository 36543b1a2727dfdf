// The controls as a request, a request as controls, and what the server says of one of them beside it.

import { byId, make, say } from "./dom.js";
import { numberField } from "./numbers.js";
import { spanOf, titleOf } from "./model.js";

const BUTTONS = { draw: "Draw", compare: "Compare", walk: "Walk", reproduce: "Reproduce" };
const ON_A_WALK = 9;

/** The controls of this model; `models` are those that a request may name. */
export function controlsOf(model, models) {
  const form = byId("form");
  const numbers = numbersOf(model);
  byId("numbers").append(...Object.values(numbers).map((number) => number.root));
  fillSelects(model, models);

  const mode = () => form.elements.mode.value;
  function go(to) {
    form.elements.mode.value = to;
    document.documentElement.dataset.mode = to;
    byId("draw").textContent = BUTTONS[to];
  }
  form.querySelectorAll("[name=mode]").forEach((radio) => radio.addEventListener("change", () => go(radio.value)));
  go("draw");

  for (const button of form.querySelectorAll("[data-dice]")) {
    button.addEventListener("click", () => setText(byId(button.dataset.dice), dice()));
  }
  form.addEventListener("input", ({ target }) => quiet(target.closest("[data-field]")));

  /** What is asked for; fields that are undefined are the model's own. */
  function request() {
    const prompt = byId("prompt").value.trim();
    const silent = model.classes.length && form.elements.silent.value === "none" ? "" : undefined;
    const walking = mode() === "walk";
    const share = walking ? numbers.share.value : undefined;
    return {
      prompt: prompt || silent,
      seed: whole(byId("seed").value),
      index: numbers.index.value,
      count: !walking ? numbers.count.value : share === undefined ? numbers.way.value ?? ON_A_WALK : 1,
      to_seed: walking ? whole(byId("to_seed").value) : undefined,
      share,
      sampler: byId("sampler").value || undefined,
      steps: numbers.steps.value,
      guidance: numbers.guidance.value,
      temperature: numbers.temperature.value,
      model: byId("model").value || undefined,
    };
  }

  /** Sets all controls to a request; what it leaves out becomes the model's own. */
  function fill(given) {
    const walks = given.to_seed !== undefined && given.to_seed !== null;
    const whole = walks && (given.share ?? "") === "";
    setText(byId("prompt"), given.prompt ?? "");
    if (model.classes.length) form.elements.silent.value = given.prompt === "" ? "none" : "mix";
    byId("seed").value = given.seed ?? "";
    byId("to_seed").value = given.to_seed ?? "";
    numbers.count.value = walks ? "" : given.count;
    numbers.way.value = whole ? given.count : "";
    numbers.share.value = walks ? given.share : "";
    for (const name of ["index", "steps", "guidance", "temperature"]) numbers[name].value = given[name];
    choose(byId("sampler"), given.sampler);
    choose(byId("model"), given.model);
    choose(byId("beside"), given.beside);
    if (mode() !== "reproduce") go(walks ? "walk" : given.beside ? "compare" : "draw");
  }

  /** Says of a field what is wrong with it, beside its control; false where it has none that is seen. */
  function problem(field, text) {
    if (field === "label") field = "prompt";
    const places = [...form.querySelectorAll(`[data-field="${field}"]`)];
    const place = places.find((each) => getComputedStyle(each).display !== "none");
    if (!place) return false;
    if (byId("settings").contains(place)) byId("settings").open = true;
    say(place.querySelector(".problem"), text);
    place.querySelector("input:not([type=range]), select").setAttribute("aria-invalid", "true");
    return true;
  }

  function clear() {
    form.querySelectorAll("[data-field]").forEach(quiet);
  }

  byId("reset").addEventListener("click", () => {
    for (const name of ["index", "steps", "guidance", "temperature"]) numbers[name].value = "";
    byId("sampler").value = "";
    clear();
  });

  return { mode, go, request, fill, problem, clear, beside: () => byId("beside").value };
}

function numbersOf({ settings, limits, guided }) {
  const span = (name, low, high, atMost) => {
    const [least, most] = spanOf(limits[name], low, high);
    return [least, Math.min(most, atMost)];
  };
  const count = numberField({
    name: "count", label: "Images", own: "1", said: "one", span: span("count", 1, 64, 64), step: 1, only: "not-walk",
    hint: "Of each variant of the prompt.",
  });
  const fields = {
    count,
    way: numberField({
      name: "way", field: "count", label: "Images on the way", own: String(ON_A_WALK), said: "as usual", span: [2, Math.min(33, spanOf(limits.count, 1, 33)[1])], step: 1,
      only: "only-walk", hint: "Both ends are among them.",
    }),
    share: numberField({
      name: "share", label: "One point", own: "all", said: "the whole way", span: [0, 1], only: "only-walk", hint: "0 is the first seed, 1 the other.",
    }),
    steps: numberField({
      name: "steps", label: "Steps", own: String(settings.steps), span: span("steps", 1, 100, 100), step: 1, hint: "Few are quick, many are fine.",
    }),
    guidance: numberField({
      name: "guidance", label: "Guidance", own: String(settings.guidance), span: span("guidance", 0, 8, 8),
      hint: guided ? "1 is off; more follows the prompt more closely." : "This model can't be guided: 1 is all that there is.",
    }),
    temperature: numberField({
      name: "temperature", label: "Noise temperature", own: String(settings.temperature), span: span("temperature", 0, 2, 2), hint: "Below 1: less variety.",
    }),
    index: numberField({ name: "index", label: "First index", own: "0", said: "from the first", step: 1, hint: "A seed has an image for each number from 0." }),
  };
  const most = spanOf(limits.count, 1, 64)[1];
  count.value = Math.min(8, most);
  return fields;
}

function fillSelects(model, models) {
  const own = `the model's own: ${model.settings.sampler}`;
  const option = (value, text) => make("option", { value }, text);
  byId("sampler").append(option("", own), ...model.samplers.map((name) => option(name, name)));
  byId("model").append(option("", `served: ${titleOf(model)}`), ...models.map((each) => option(each.version, titleOf(each))));
  const other = models.find((each) => !each.current);
  byId("beside").append(...models.map((each) => option(each.version, titleOf(each))));
  byId("beside").disabled = !other;
  if (other) byId("beside").value = other.version;
  else byId("hint-beside").textContent = "There is no other model here: a registered model with several versions has some, and the option --beside brings others.";
}

/** 0 ... 2^32-1, each alike. */
function dice() {
  return String(crypto.getRandomValues(new Uint32Array(1))[0]);
}

/** A seed as it is typed, all 64 bits of it; what is no whole number goes as it is, the server says what is allowed. */
function whole(text) {
  const typed = text.trim();
  if (!typed) return undefined;
  return /^[+-]?\d{1,400}$/.test(typed) ? BigInt(typed.replace(/^\+/, "")) : typed;
}

function choose(select, value) {
  const wanted = value ?? "";
  // A version that is not listed stands there, too: the server says what becomes of it.
  if (wanted && ![...select.options].some((each) => each.value === wanted)) select.append(make("option", { value: wanted }, wanted));
  if (wanted || select.id !== "beside") select.value = wanted;
}

function setText(input, text) {
  input.value = text;
  input.dispatchEvent(new Event("input", { bubbles: true }));
}

function quiet(place) {
  if (!place) return;
  say(place.querySelector(".problem"), null);
  place.querySelectorAll("[aria-invalid]").forEach((each) => each.removeAttribute("aria-invalid"));
}

