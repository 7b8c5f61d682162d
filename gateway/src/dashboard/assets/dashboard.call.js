// Calls of methods: a form or JSON goes out through the gateway like any other request, and the answer is shown.

import { count, el, newId, span, write } from "./dashboard.dom.js";
import { FieldError, Fields } from "./dashboard.form.js";

// How many messages of a stream stay on the page.
const MESSAGES_MAX = 200;
const CODES = [
  "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
  "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
  "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
];

export class Calls {
  constructor(title, body) {
    this.title = title;
    this.body = body;
  }

  /// Shows the methods of a service.
  async open(service) {
    this.call?.stop();
    this.opened = service;
    write(this.title, `Call ${service}`);
    this.body.replaceChildren(el("p", { class: "quiet" }, "The service is asked what its methods are …"));
    this.body.closest("section").scrollIntoView({ block: "nearest" });
    let forms;
    try {
      const answer = await fetch(`dashboard.methods?${service}`);
      const json = await answer.json();
      if (!answer.ok) throw new Error(json.message);
      forms = json;
    } catch (error) {
      if (this.opened === service) this.body.replaceChildren(el("p", { class: "error", role: "alert" }, error.message));
      return;
    }
    if (this.opened === service) this.choose(forms);
  }

  choose(forms) {
    const id = newId();
    const select = el("select", { id });
    forms.methods.forEach((method, at) => select.append(el("option", { value: at }, `${method.kind}/${method.name}`)));
    const inside = el("div");
    const show = () => {
      this.call?.stop();
      const method = forms.methods[Number(select.value)];
      const say = (text) => inside.replaceChildren(el("p", { class: "quiet" }, text));
      if (!method) return say("The service has no methods that are exported.");
      if (method.takesStream) return say("The method takes a stream of messages, which has no form in HTTP.");
      this.call = new Call(method, forms.messages);
      inside.replaceChildren(this.call.element);
    };
    select.addEventListener("change", show);
    this.body.replaceChildren(el("div", { class: "field" }, el("label", { for: id }, "Method"), select), inside);
    show();
    select.focus();
  }
}

/// A request for one method, and what came of it.
class Call {
  constructor(method, messages) {
    this.method = method;
    this.messages = messages;
    this.example = JSON.parse(method.example);
    this.fields = new Fields(messages, method.input);
    this.asFields = el("button", { type: "button", class: "tab", "aria-pressed": "true" }, "Fields");
    this.asJson = el("button", { type: "button", class: "tab", "aria-pressed": "false" }, "JSON");
    this.fill = el("button", { type: "button", class: "small" }, "Fill in an example");
    const [jsonId, timeId, tokenId] = [newId(), newId(), newId()];
    this.json = el("textarea", { id: jsonId, rows: 10, spellcheck: "false" });
    const kind = el("span", { class: "kind" }, method.input);
    this.jsonField = el("div", { class: "field" }, el("label", { for: jsonId }, "Request as JSON ", kind), this.json);
    this.editor = el("div", {}, this.fields.element);
    this.timeout = el("input", { id: timeId, type: "text", autocomplete: "off", placeholder: "5s" });
    this.token = el("input", { id: tokenId, type: "password", autocomplete: "off", placeholder: "none" });
    this.send = el("button", { type: "submit", class: "main" }, "Call");
    this.end = el("button", { type: "button", hidden: true }, "Stop");
    this.message = el("p", { class: "error", role: "alert", hidden: true });
    this.outcome = el("dl", { class: "outcome" });
    this.replies = el("ol", { class: "replies", "aria-label": "Answer" });
    this.answer = el("div", { class: "answer", "aria-live": "polite", hidden: true }, this.outcome, this.replies);
    const about = method.description ? [el("p", { class: "help" }, method.description)] : [];
    const ways = { class: "tabs", role: "group", "aria-label": "How to write the request" };
    this.element = el(
      "form",
      { class: "call", autocomplete: "off", "aria-label": `Request for ${method.name}` },
      ...about,
      el("div", ways, this.asFields, this.asJson, this.fill),
      this.editor,
      el(
        "details",
        {},
        el("summary", {}, "Options"),
        el("div", { class: "field" }, el("label", { for: timeId }, "Timeout"), this.timeout),
        el("div", { class: "field" }, el("label", { for: tokenId }, "Bearer token"), this.token),
      ),
      el("div", { class: "actions" }, this.send, this.end, el("code", {}, `POST ${method.path}`)),
      this.message,
      this.answer,
    );
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      this.run();
    });
    this.asFields.addEventListener("click", () => this.guard(() => this.showFields(this.value())));
    this.asJson.addEventListener("click", () => this.guard(() => this.showJson()));
    this.fill.addEventListener("click", () => this.guard(() => this.fillIn()));
    this.end.addEventListener("click", () => this.stop());
  }

  stop() {
    this.running?.abort();
  }

  /// Says what is wrong with the request, where it is.
  guard(action) {
    this.message.hidden = true;
    try {
      return action();
    } catch (error) {
      this.message.hidden = false;
      write(this.message, error.message);
      if (error instanceof FieldError) error.input.focus();
      return undefined;
    }
  }

  get isJson() {
    return this.asJson.getAttribute("aria-pressed") === "true";
  }

  /// The request, however it is written at present.
  value() {
    if (!this.isJson) return this.fields.get();
    try {
      return JSON.parse(this.json.value.trim() || "{}");
    } catch (error) {
      throw new FieldError(this.json, `The request is no JSON: ${error.message}`);
    }
  }

  showJson() {
    if (this.isJson) return;
    const value = this.fields.get();
    const isEmpty = Object.keys(value).length === 0;
    this.json.value = JSON.stringify(isEmpty ? this.example : value, null, 2);
    this.press(true);
    this.editor.replaceChildren(this.jsonField);
  }

  showFields(value) {
    const fields = new Fields(this.messages, this.method.input, value);
    if (!isSame(fields.get(), value)) throw new FieldError(this.json, "The fields cannot show all of this JSON.");
    this.fields = fields;
    this.press(false);
    this.editor.replaceChildren(fields.element);
  }

  fillIn() {
    if (this.isJson) this.json.value = JSON.stringify(this.example, null, 2);
    else this.showFields(this.example);
  }

  press(isJson) {
    this.asJson.setAttribute("aria-pressed", String(isJson));
    this.asFields.setAttribute("aria-pressed", String(!isJson));
  }

  /// The body: JSON goes out as it was written, as its numbers may be longer than those of a script.
  body() {
    const value = this.value();
    return this.isJson ? this.json.value : JSON.stringify(value);
  }

  async run() {
    const body = this.guard(() => this.body());
    if (body === undefined) return;
    this.stop();
    const running = new AbortController();
    this.running = running;
    const headers = {
      "content-type": "application/json",
      accept: this.method.streams ? "application/x-ndjson" : "application/json",
      "x-micro-dashboard": "1",
    };
    const [timeout, token] = [this.timeout.value.trim(), this.token.value.trim()];
    if (timeout) headers["x-request-timeout"] = timeout;
    if (token) headers.authorization = `Bearer ${token}`;
    this.answer.hidden = false;
    this.replies.replaceChildren();
    this.say({ Status: "waiting …" });
    this.end.hidden = false;
    const begun = performance.now();
    try {
      const answer = await fetch(this.method.path, { method: "POST", headers, body, signal: running.signal });
      await this.show(answer, begun, running.signal);
    } catch (error) {
      const word = running.signal.aborted ? "stopped" : `no answer: ${error.message}`;
      if (this.running === running) this.say({ Status: word, Time: span(performance.now() - begun) }, "bad");
    } finally {
      if (this.running === running) this.end.hidden = true;
    }
  }

  async show(answer, begun, signal) {
    const facts = (status) => ({
      Status: status,
      Time: span(performance.now() - begun),
      Node: answer.headers.get("x-micro-node") ?? "none",
      Request: answer.headers.get("x-request-id") ?? "",
    });
    if (this.method.streams && answer.ok) return this.follow(answer, facts, signal);
    const text = await answer.text();
    const json = parsed(text);
    const code = answer.ok ? "OK" : (CODES[json?.code] ?? "");
    this.say(facts(`${answer.status} ${code}`.trim()), answer.ok ? "good" : "bad");
    this.reply(json === undefined ? text : json, answer.ok);
  }

  /// The messages of a stream, each as it comes.
  async follow(answer, facts, signal) {
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let [rest, messages, failure] = ["", 0, undefined];
    this.say(facts("200, waiting for messages"));
    for (;;) {
      const { done, value } = await reader.read();
      // A call that was stopped for another one has no say any more.
      if (signal.aborted) throw signal.reason;
      const lines = (rest + (value ?? "")).split("\n");
      rest = lines.pop();
      for (const line of lines.filter((text) => text !== "")) {
        const { result, error } = parsed(line) ?? { result: line };
        if (error) failure = error;
        else messages += 1;
        this.reply(error ?? result, !error);
      }
      if (done) break;
      this.say(facts(`200, ${count(messages, "message")} so far`));
    }
    const word = failure ? (CODES[failure.code] ?? "failed") : "OK";
    this.say(facts(`200 ${word} after ${count(messages, "message")}`), failure ? "bad" : "good");
  }

  say(facts, tone = "quiet") {
    const parts = Object.entries(facts).filter(([, text]) => text !== "");
    const shown = parts.map(([name, text]) => {
      const kind = name === "Status" ? `state ${tone}` : "mono";
      return el("div", { "data-fact": name }, el("dt", {}, name), el("dd", { class: kind }, text));
    });
    this.outcome.replaceChildren(...shown);
  }

  reply(value, isGood) {
    const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
    this.replies.append(el("li", {}, el("pre", { class: isGood ? "" : "bad", tabindex: "0" }, text)));
    while (this.replies.children.length > MESSAGES_MAX) this.replies.firstChild.remove();
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isSame(one, other) {
  if (typeof one !== "object" || one === null || typeof other !== "object" || other === null) return one === other;
  const keys = Object.keys(one);
  return keys.length === Object.keys(other).length && keys.every((key) => key in other && isSame(one[key], other[key]));
}
