// What the page knows of the models that are served.

/** "rediffuse-digits, version 3, champion": name, version and aliases, where it has them. */
export function titleOf({ name, version, aliases = [] }) {
  // Of a model beside the served one, the version begins with its name.
  const number = version === name ? "" : version?.replace(`${name}/`, "");
  return [name, number && `version ${number}`, ...aliases].filter(Boolean).join(", ");
}

/** The beginning of a hash of weights, enough to tell two apart. */
export const short = (identity) => identity.slice(0, 8);

/** The ends of a limit; what the server leaves open is `low` or `high`. */
export function spanOf(limit, low, high) {
  if (Array.isArray(limit)) return [limit[0] ?? low, limit[1] ?? high];
  return [low, high];
}
