// Moments that one goes back through: a slider, a button that plays them, and what each is called.

import { icon, make } from "./dom.js";

const PLAY = "M6 4l10 6-10 6z";
const PAUSE = "M5 4h4v12H5zM11 4h4v12h-4z";
const MOMENT = 110;

/**
 * A film of `names.length` moments.
 * `shows(number)` is called with the moment that is to be seen; the last one is seen at first.
 */
export function film(names, shows, label = "Film") {
  const last = names.length - 1;
  let timer = null;
  const slider = make("input", { type: "range", min: 0, max: last, step: 1, value: last, "aria-label": `${label}: moment` });
  const told = make("output", { class: "told" });
  const play = make("button", { type: "button", class: "play", "aria-label": `Play the ${label.toLowerCase()}` });

  function go(number) {
    slider.value = number;
    slider.setAttribute("aria-valuetext", names[number]);
    told.textContent = names[number];
    shows(number);
  }

  function stop() {
    clearInterval(timer);
    timer = null;
    play.replaceChildren(icon(PLAY));
    play.setAttribute("aria-pressed", "false");
  }

  function start() {
    go(Number(slider.value) === last ? 0 : Number(slider.value));
    play.replaceChildren(icon(PAUSE));
    play.setAttribute("aria-pressed", "true");
    timer = setInterval(() => {
      // An element that was taken from the page has no one to play to.
      if (!root.isConnected || Number(slider.value) === last) return stop();
      go(Number(slider.value) + 1);
    }, MOMENT);
  }

  slider.addEventListener("input", () => {
    stop();
    go(Number(slider.value));
  });
  play.addEventListener("click", () => (timer ? stop() : start()));
  const root = make("div", { class: "film", role: "group", "aria-label": label }, play, slider, told);
  stop();
  go(last);
  return root;
}
