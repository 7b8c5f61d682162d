// What all parts of the page make elements with. Data become text nodes and attributes, never markup.

let ids = 0;

/// A name for an element that no other has.
export function newId() {
  ids += 1;
  return `e${ids}`;
}

/// An element with attributes and children; a child that is no element is text.
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined) element.setAttribute(name, String(value));
  }
  element.append(...children);
  return element;
}

/// Sets a text, if it is another one: what does not change is not read aloud again, and stays selected.
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/// Sets an attribute, if it is another one.
export function mark(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/// How long something took or is ago, as people say it.
export function span(ms) {
  if (ms < 1) return `${Math.round(ms * 1000)} µs`;
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h`;
}

/// `1 node`, `2 nodes`.
export function count(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
