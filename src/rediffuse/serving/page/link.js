// A request as the part of an address behind "#", and back: a link that repeats images.

const FIELDS = ["prompt", "seed", "index", "count", "to_seed", "share", "sampler", "steps", "guidance", "temperature", "model", "beside", "identity"];

/** "#prompt=3&seed=7": what is null or undefined is left out; an empty prompt is kept, it means that nothing is told. */
export function linkOf(parameters) {
  const kept = FIELDS.filter((name) => parameters[name] !== null && parameters[name] !== undefined);
  return `#${new URLSearchParams(kept.map((name) => [name, String(parameters[name])]))}`;
}

/** The parameters of such a link, each as text; null where there are none. */
export function parametersOf(hash) {
  const given = [...new URLSearchParams(hash.replace(/^#/, ""))].filter(([name]) => FIELDS.includes(name));
  return given.length ? Object.fromEntries(given) : null;
}
