// A form for a message, made of its description: a value of JSON goes in, and comes out as it was changed.

import { el, newId } from "./dashboard.dom.js";

// The least and the greatest of the whole numbers.
const WHOLE = {
  int32: [-(2n ** 31n), 2n ** 31n - 1n],
  uint32: [0n, 2n ** 32n - 1n],
  int64: [-(2n ** 63n), 2n ** 63n - 1n],
  uint64: [0n, 2n ** 64n - 1n],
};
const HINTS = {
  bytes: "base64",
  timestamp: "2030-01-01T12:00:00Z",
  duration: "1.5s",
  fieldmask: "name,address.city",
  json: "{}",
};

/// What a field holds cannot be sent.
export class FieldError extends Error {
  constructor(input, message) {
    super(message);
    this.input = input;
  }
}

/// The fields of a message. `get` gives the JSON, without what says nothing.
export class Fields {
  constructor(messages, name, value = {}) {
    this.editors = [];
    this.element = el("div", { class: "fields" });
    const choices = new Map();
    for (const field of messages[name] ?? []) {
      if (field.oneof === undefined) {
        const editor = fieldEditor(messages, field, value[field.json]);
        this.editors.push([field.json, editor]);
        this.element.append(editor.element);
        continue;
      }
      if (!choices.has(field.oneof)) {
        const choice = new Choice(messages, field.oneof);
        choices.set(field.oneof, choice);
        this.editors.push([undefined, choice]);
        this.element.append(choice.element);
      }
      choices.get(field.oneof).add(field, value[field.json]);
    }
    if (this.editors.length === 0) this.element.append(el("p", { class: "quiet" }, "The message has no fields."));
  }

  get() {
    const value = {};
    for (const [name, editor] of this.editors) {
      const got = editor.get();
      if (got === undefined) continue;
      if (name === undefined) Object.assign(value, got);
      else value[name] = got;
    }
    return value;
  }
}

function fieldEditor(messages, field, value) {
  if (field.keys !== undefined) return new Rows(messages, field, Object.entries(value ?? {}), true);
  if (field.repeated) return new Rows(messages, field, value ?? [], false);
  if (field.is === "message") return new Nested(messages, field, value);
  return scalar(field, value, field.name);
}

/// What the proto file says of a field: an element, or none.
function help(field) {
  return field.description ? [el("p", { class: "help", id: newId() }, field.description)] : [];
}

/// A value that is one element of the page. `isNeeded`: it is sent even if it is empty.
function scalar(field, value, label, isNeeded = false) {
  const id = newId();
  let input;
  if (field.is === "bool" || field.is === "enum") {
    const values = field.is === "bool" ? ["false", "true"] : field.values;
    const options = values.map((name) => el("option", { value: name }, name));
    input = el("select", { id }, el("option", { value: "" }, isNeeded ? "" : "not set"), ...options);
  } else if (field.is === "json") {
    input = el("textarea", { id, rows: 3, spellcheck: "false", placeholder: HINTS.json });
  } else {
    const hint = HINTS[field.is];
    const mode = field.is in WHOLE ? "numeric" : undefined;
    input = el("input", { id, type: "text", autocomplete: "off", spellcheck: "false", placeholder: hint, inputmode: mode });
  }
  if (value !== undefined && value !== null) {
    input.value = field.is === "json" ? JSON.stringify(value, null, 2) : String(value);
  }
  const kind = el("span", { class: "kind" }, field.is);
  const about = help(field);
  if (about.length > 0) input.setAttribute("aria-describedby", about[0].id);
  const element = el("div", { class: "field" }, el("label", { for: id }, label, " ", kind), ...about, input);
  return { element, get: () => read(field, input, label, isNeeded) };
}

function read(field, input, label, isNeeded) {
  input.removeAttribute("aria-invalid");
  const refuse = (message) => {
    input.setAttribute("aria-invalid", "true");
    throw new FieldError(input, `${label}: ${message}`);
  };
  const text = input.value;
  const isText = field.is === "string" || field.is === "bytes" || field.is === "fieldmask";
  if (text === "" && !(isNeeded && isText)) {
    if (isNeeded && field.is === "bool") return false;
    return isNeeded ? refuse("a value is missing") : undefined;
  }
  if (field.is in WHOLE) {
    const [least, most] = WHOLE[field.is];
    if (!/^-?\d+$/.test(text.trim())) return refuse("is no whole number");
    const number = BigInt(text.trim());
    if (number < least || number > most) return refuse(`is not within ${least} and ${most}`);
    // 64 bits do not fit into a number of JSON.
    return field.is.endsWith("64") ? number.toString() : Number(number);
  }
  if (field.is === "double") {
    if (["NaN", "Infinity", "-Infinity"].includes(text.trim())) return text.trim();
    const number = Number(text);
    return text.trim() === "" || !Number.isFinite(number) ? refuse("is no number") : number;
  }
  if (field.is === "bool") return text === "true";
  if (field.is === "json") {
    try {
      return JSON.parse(text);
    } catch (error) {
      return refuse(`is no JSON: ${error.message}`);
    }
  }
  return text;
}

/// A message within a message: made when it is asked for, as messages may hold themselves.
class Nested {
  constructor(messages, field, value, label = field.name) {
    this.inside = el("div", { class: "inside" });
    this.button = el("button", { type: "button", class: "small", "aria-expanded": "false" }, `Set ${label}`);
    const legend = el("legend", {}, label, " ", el("span", { class: "kind" }, field.message));
    const about = help(field);
    this.element = el("fieldset", { "aria-describedby": about[0]?.id }, legend, ...about, this.button, this.inside);
    this.label = label;
    this.button.addEventListener("click", () => {
      if (this.fields) this.clear();
      else this.open(messages, field, {});
    });
    if (value !== undefined && value !== null) this.open(messages, field, value);
  }

  open(messages, field, value) {
    this.fields = new Fields(messages, field.message, value);
    this.inside.replaceChildren(this.fields.element);
    this.button.textContent = `Unset ${this.label}`;
    this.button.setAttribute("aria-expanded", "true");
  }

  clear() {
    this.fields = undefined;
    this.inside.replaceChildren();
    this.button.textContent = `Set ${this.label}`;
    this.button.setAttribute("aria-expanded", "false");
  }

  get() {
    return this.fields?.get();
  }
}

/// A list or a map: as many rows as are wanted.
class Rows {
  constructor(messages, field, values, isMap) {
    this.rows = [];
    this.isMap = isMap;
    this.list = el("div", { class: "inside" });
    const of = field.message ?? field.is;
    const kind = isMap ? `map of ${field.keys} to ${of}` : `list of ${of}`;
    const add = el("button", { type: "button", class: "small" }, `Add to ${field.name}`);
    add.addEventListener("click", () => {
      this.add(messages, field, isMap ? ["", undefined] : undefined);
      this.rows.at(-1).element.querySelector("input, select, textarea, button")?.focus();
    });
    const legend = el("legend", {}, field.name, " ", el("span", { class: "kind" }, kind));
    const about = help(field);
    this.element = el("fieldset", { "aria-describedby": about[0]?.id }, legend, ...about, this.list, add);
    for (const value of values) this.add(messages, field, value);
  }

  add(messages, field, value) {
    const [key, inner] = this.isMap ? value : [undefined, value];
    const number = this.rows.length + 1;
    const label = this.isMap ? `value ${number}` : `${field.name} ${number}`;
    // What is said of the field stands above all of its rows.
    const one = { ...field, description: undefined };
    const row = {
      key: this.isMap ? scalar({ is: field.keys, values: [] }, key, `key ${number}`, true) : undefined,
      value: one.is === "message" ? new Nested(messages, one, inner ?? {}, label) : scalar(one, inner, label, true),
    };
    const remove = el("button", { type: "button", class: "small", "aria-label": `Remove ${label}` }, "Remove");
    const parts = row.key ? [row.key.element, row.value.element] : [row.value.element];
    row.element = el("div", { class: "row" }, el("div", { class: "parts" }, ...parts), remove);
    remove.addEventListener("click", () => {
      row.element.remove();
      this.rows.splice(this.rows.indexOf(row), 1);
    });
    this.rows.push(row);
    this.list.append(row.element);
  }

  get() {
    if (this.rows.length === 0) return undefined;
    if (!this.isMap) return this.rows.map((row) => row.value.get() ?? {});
    return Object.fromEntries(this.rows.map((row) => [String(row.key.get()), row.value.get() ?? {}]));
  }
}

/// A oneof: one of several fields, or none.
class Choice {
  constructor(messages, name) {
    this.messages = messages;
    this.fields = new Map();
    const id = newId();
    this.select = el("select", { id }, el("option", { value: "" }, "none"));
    this.inside = el("div", { class: "inside" });
    this.element = el(
      "fieldset",
      {},
      el("legend", {}, name, " ", el("span", { class: "kind" }, "one of")),
      el("div", { class: "field" }, el("label", { for: id }, `which ${name}`), this.select),
      this.inside,
    );
    this.select.addEventListener("change", () => this.choose(undefined));
  }

  add(field, value) {
    this.fields.set(field.json, field);
    this.select.append(el("option", { value: field.json }, field.name));
    if (value === undefined || value === null) return;
    this.select.value = field.json;
    this.choose(value);
  }

  choose(value) {
    const field = this.fields.get(this.select.value);
    this.editor = undefined;
    if (field?.is === "message") this.editor = new Nested(this.messages, field, value ?? {});
    else if (field) this.editor = scalar(field, value, field.name, true);
    this.inside.replaceChildren(...(this.editor ? [this.editor.element] : []));
  }

  get() {
    return this.editor ? { [this.select.value]: this.editor.get() ?? {} } : undefined;
  }
}
