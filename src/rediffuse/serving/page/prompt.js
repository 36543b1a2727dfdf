// The prompt line: its chips, its help, and what the server understands of what stands there.

import { byId, counted, make, say, written } from "./dom.js";
import { askJson } from "./server.js";

const QUIET = 200;
const SHOWN = 12;

/** `says(text)` is told what is wrong with the prompt as it is typed, and null where nothing is. */
export function promptLine(model, version, says) {
  const input = byId("prompt");
  const [one, two, three] = namesOf(model);
  input.placeholder = one ? `${one}, ${two}, or {${one}|${three}}` : "this model knows no classes";
  byId("classes").append(...model.classes.map((name) => chip(name, input)));
  byId("grammar").append(...help(one, two, three, model.frames[0], input));
  byId("grammar").closest("details").hidden = !one;

  let [timer, asked] = [null, new AbortController()];
  function changed() {
    clearTimeout(timer);
    asked.abort();
    byId("silent").hidden = Boolean(input.value.trim()) || !model.classes.length;
    if (!input.value.trim()) return say(byId("understood"), null);
    asked = new AbortController();
    timer = setTimeout(() => understand(asked.signal), QUIET);
  }

  async function understand(signal) {
    try {
      const understood = await askJson("v1/understand", { prompt: input.value, model: version() }, { signal });
      show(understood);
      says(null);
    } catch (error) {
      if (error.name === "AbortError") return;
      say(byId("understood"), null);
      says(error);
    }
  }

  input.addEventListener("input", changed);
  changed();
}

function show({ variants, seed }) {
  const pills = variants.slice(0, SHOWN).map((variant) => make("span", { class: "pill" }, read(variant.terms)));
  const more = variants.length > SHOWN ? ` and ${variants.length - SHOWN} more` : "";
  const several = variants.length > 1 ? ` as ${counted(variants.length, "variant")}` : "";
  const told = seed === null || seed === undefined ? "" : `, seed ${seed}`;
  byId("understood").replaceChildren(`Understood${several}${told}: `, ...pills, more);
  byId("understood").hidden = false;
}

/** "3 and 8 × 1.3, not 5" */
function read(terms) {
  if (!terms.length) return "nothing";
  const term = ({ label, weight }) => (Math.abs(weight) === 1 ? label : `${label} × ${written(Math.abs(weight))}`);
  const towards = terms.filter(({ weight }) => weight >= 0).map(term).join(" and ");
  const away = terms.filter(({ weight }) => weight < 0).map(term).join(" and ");
  return [towards, away && `not ${away}`].filter(Boolean).join(", ");
}

/** The name as the grammar takes it: in quotes where anything in it could be read as a sign. */
export function quoted(name) {
  const bare = name.split(" ").every((word) => word && !/[(){}|,:"“”„]|^[-—–]|^(and|&|\+)$/i.test(word));
  return bare ? name : `"${name.replace(/(["\\])/g, "\\$1")}"`;
}

function chip(name, input) {
  return make("button", { type: "button", class: "chip", click: () => put(quoted(name), input) }, name);
}

/** Puts a subject behind those that are there, before the options. */
function put(name, input) {
  const [, subjects, options] = input.value.match(/^(.*?)(\s*(?:--.*)?)$/s);
  const joined = subjects.trim() ? `${subjects.trim().replace(/,$/, "")}, ${name}` : name;
  write(input, `${joined}${options.trim() ? ` ${options.trim()}` : ""}`);
}

function write(input, text) {
  input.value = text;
  input.dispatchEvent(new Event("input", { bubbles: true }));
}

function namesOf({ classes }) {
  const names = classes.map(quoted);
  return [0, Math.floor(names.length / 2), names.length - 1].map((at) => names[at]);
}

function help(one, two, three, frame, input) {
  const lines = [
    [one, "one subject"],
    [`${one}, ${two}, ${three}`, "an image of each"],
    [`${one} and ${two}`, "both in one image"],
    [`(${one}:1.3) and ${two}`, "more of one; weights above 0, up to 10"],
    [`${one} --no ${two}`, "away from what comes behind --no"],
    [`{${one}|${two}|${three}}`, "alternatives; several braces give all combinations"],
    [`${one} --seed 7`, "the seed, in the prompt"],
    frame && [`${frame} ${one}`, "a frame: words that are true of each of its images"],
  ];
  return lines.filter(Boolean).flatMap(([text, meaning]) => [
    make("dt", {}, make("button", { type: "button", class: "example", click: () => write(input, text) }, text)),
    make("dd", {}, meaning),
  ]);
}
