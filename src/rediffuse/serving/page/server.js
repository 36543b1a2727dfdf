// What is asked of the server, and what it answers when it does not want to.

import { parse, stringify } from "./json.js";
import { events } from "./events.js";

const KEY = "rediffuse-token";

/** The server's "no": the field that it is about, what was wrong, and what is allowed. */
export class Refused extends Error {
  constructor(status, { field = null, message = "", allowed = null } = {}) {
    super(message || `The server answered ${status}.`);
    Object.assign(this, { status, field, allowed });
  }
}

let tokens = async () => null;

/** Whom to ask for a token: a function of (refused: was one sent?) that gives one. */
export function tokensFrom(source) {
  tokens = source;
}

/** A response that is fine; asks for a token at 401, and waits at 429 for as long as the server says. */
export async function ask(path, { body, accept = "application/json", signal, waits = () => {} } = {}) {
  const typed = typeof body === "string" ? { "Content-Type": "application/json" } : {};
  for (;;) {
    const token = sessionStorage.getItem(KEY);
    const authorized = token ? { Authorization: `Bearer ${token}` } : {};
    const headers = { Accept: accept, ...typed, ...authorized };
    const response = await reached(path, { method: body === undefined ? "GET" : "POST", body, headers, signal, cache: "no-store" });
    if (response.ok) return response;
    if (response.status === 401) {
      // Another request may have been answered with a newer one meanwhile.
      if (sessionStorage.getItem(KEY) === token) sessionStorage.setItem(KEY, await tokens(token !== null));
    } else if (response.status === 429) {
      await pause(Number(response.headers.get("Retry-After")) || 1, signal, waits);
    } else {
      throw await refusal(response);
    }
  }
}

/** The JSON of a path, or the answer to `body`. */
export async function askJson(path, body, options = {}) {
  return parse(await (await ask(path, { ...options, body: body && stringify(body) })).text());
}

/** Images on their way: yields {name, data} for each event, and ends after `done`. */
export async function* drawing(request, frames, { signal, waits }) {
  const path = `v1/images?frames=${frames}`;
  const response = await ask(path, { body: stringify(request), accept: "text/event-stream", signal, waits });
  for await (const { name, text } of events(response.body)) {
    const data = text ? parse(text) : {};
    if (name === "error") throw new Refused(data.status ?? 500, data.error ?? data);
    yield { name, data };
    if (name === "done") return;
  }
  throw new Refused(0, { message: "The server went away before the images were there." });
}

async function reached(path, options) {
  try {
    return await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, { message: "The server can't be reached." });
  }
}

async function refusal(response) {
  const text = await response.text();
  try {
    const { error, detail } = parse(text);
    return new Refused(response.status, error ?? { message: String(detail ?? "") });
  } catch {
    return new Refused(response.status);
  }
}

/** So many seconds; tells `waits` each second how many are left, and then null. */
async function pause(seconds, signal, waits) {
  for (let left = Math.ceil(seconds); left > 0; left -= 1) {
    waits(left);
    await new Promise((resolve, reject) => {
      const stop = () => (clearTimeout(timer), reject(new DOMException("cancelled", "AbortError")));
      const timer = setTimeout(() => (signal?.removeEventListener("abort", stop), resolve()), 1000);
      if (signal?.aborted) stop();
      signal?.addEventListener("abort", stop, { once: true });
    });
  }
  waits(null);
}
