// One request, drawn into a gallery: what is told on the way, and what came of it.

import { counted } from "./dom.js";
import { drawing } from "./server.js";

const MOMENTS = 12;

/**
 * Draws a request; gives the server's answer with its items.
 * `tells(text, share)` is told how far it is; share is between 0 and 1, or null where nobody knows.
 */
export async function draw(request, grid, { signal, tells }) {
  const waits = (left) => tells(left === null ? "Asking again." : `The server has much to do: asking again in ${counted(left, "second")}.`, null);
  let told = false;
  tells("Sent.", null);
  try {
    for await (const { name, data } of drawing(request, MOMENTS, { signal, waits })) {
      if (name === "queued") {
        grid.expect(data.count);
        tells("In the queue.", null);
      }
      if (name === "step") {
        grid.step(data);
        told = true;
        tells(`Step ${data.done} of ${data.of}.`, data.done / data.of);
      }
      if (name === "done") return { ...data, items: grid.finish(data) };
    }
  } catch (error) {
    // What was seen until then stays, and can be gone through.
    if (told) grid.keep();
    throw error;
  }
}

/** Mixes of text and names for the line that says what came of it. */
export function outcome(answer, seconds) {
  const by = [answer.name, answer.version && `version ${answer.version}`].filter(Boolean).join(", ");
  return `${counted(answer.images.length, "image")} of seed ${answer.seed} by ${by || "the served model"}, ${seconds.toFixed(1)} s.`;
}
