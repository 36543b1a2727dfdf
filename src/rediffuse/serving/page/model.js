// What the page knows of the models that are served.

/** `GET v1/model` as the page uses it. */
export function readModel({ name, version, identity, classes, synonyms, frames, shape, settings, samplers, limits }) {
  return { name, version, identity, classes: classes ?? [], synonyms: synonyms ?? {}, frames: frames ?? [], shape, settings, samplers, limits };
}

/** "rediffuse-digits 3 (1f0c22aa)": name, version and the beginning of the weights' hash. */
export function titleOf({ name, version, identity }) {
  const named = [name, version && `version ${version}`].filter(Boolean).join(", ");
  return identity ? `${named} (${identity.slice(0, 8)})` : named;
}

/** The ends of a limit; what the server leaves open is `low` or `high`. */
export function spanOf(limit, low, high) {
  if (Array.isArray(limit)) return [limit[0] ?? low, limit[1] ?? high];
  if (limit && typeof limit === "object") return [limit.least ?? low, limit.most ?? high];
  return [low, limit ?? high];
}
