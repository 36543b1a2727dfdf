// Numbers that one sets by slider or by keys; empty is the model's own, which is shown.

import { make, say } from "./dom.js";

/**
 * A control of a number.
 * `name` is its id, `field` the request's field that it sets, `own` what holds where it is empty and `said` what that is
 * called, `span` the slider's ends (none: no slider).
 */
export function numberField({ name, field = name, label, hint, own, said = "the model's own", span, step = "any", only = null }) {
  const input = make("input", {
    id: name, type: "number", step, min: span?.[0], inputmode: step === 1 ? "numeric" : "decimal",
    placeholder: own, "aria-describedby": `hint-${name} problem-${name}`,
  });
  const slider = span && make("input", {
    type: "range", min: span[0], max: span[1], step: step === "any" ? (span[1] - span[0]) / 100 : step, "aria-label": `${label}, slider`,
  });
  const back = make("button", { type: "button", class: "own" });
  const root = make(
    "div", { class: `field ${only ?? ""}`, "data-field": field },
    make("div", { class: "over" }, make("label", { for: name }, label), back),
    make("div", { class: "line" }, slider, input),
    make("p", { id: `hint-${name}`, class: "hint" }, hint),
    make("p", { id: `problem-${name}`, class: "problem", role: "alert", hidden: true }),
  );

  const show = () => {
    const set = input.value !== "" || input.validity.badInput;
    if (slider) slider.value = set ? input.value : own;
    back.disabled = !set;
    back.textContent = set ? `back to ${own}` : said;
    back.setAttribute("aria-label", set ? `${label}: back to ${own}` : `${label}: ${said}, ${own}`);
  };
  input.addEventListener("input", show);
  slider?.addEventListener("input", () => {
    input.value = String(Math.round(Number(slider.value) * 100) / 100);
    input.dispatchEvent(new Event("input", { bubbles: true }));
  });
  back.addEventListener("click", () => {
    input.value = "";
    input.dispatchEvent(new Event("input", { bubbles: true }));
    input.focus();
  });
  say(root.querySelector(".hint"), hint);
  show();
  return {
    root,
    /** What is set; undefined: nothing. What is no number goes as it is, the server says what is allowed. */
    get value() {
      if (input.validity.badInput) return "no number";
      return input.value === "" ? undefined : Number(input.value);
    },
    set value(value) {
      input.value = value ?? "";
      show();
    },
  };
}
