// Elements from text and other elements; never from HTML, so that nothing that somebody types is read as such.

/** The element of this id. */
export const byId = (id) => document.getElementById(id);

/** A new element; `properties` are attributes, functions listeners, null and false leave one out. */
export function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") node.addEventListener(name, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** A drawing of one path in a 20×20 field. */
export function icon(path) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

/** Shows a text, or hides the element where there is none. */
export function say(node, text) {
  node.textContent = text ?? "";
  node.hidden = !text;
}

/** A number as people write it: at most four digits behind the point. */
export const written = (number) => String(Math.round(number * 1e4) / 1e4);

/** "1 image", "2 images". */
export const counted = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;
