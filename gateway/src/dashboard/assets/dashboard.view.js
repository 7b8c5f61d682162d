// The services and their nodes, and what became of them. Rows stay the same elements while they change.

import { count, el, mark, span, write } from "./dashboard.dom.js";

const CHANGES_MAX = 50;

// What the states of a node are called, and how grave they are.
const STATES = {
  ready: ["ready", "good"],
  idle: ["idle", "quiet"],
  listed: ["listed", "quiet"],
  connecting: ["connecting", "odd"],
  backoff: ["not reached", "bad"],
  not_serving: ["not serving", "odd"],
  ejected: ["ejected", "bad"],
};

const COLUMNS = ["State", "Node", "Version", "Address", "In flight", "Latency", "Last error"];

export class View {
  constructor(onCall) {
    this.onCall = onCall;
    this.root = document.getElementById("services");
    this.facts = document.getElementById("facts");
    this.trouble = document.getElementById("trouble");
    this.log = document.getElementById("log");
    this.services = new Map();
    this.before = undefined;
    this.factTexts = new Map();
  }

  show(sight) {
    this.shown = performance.now();
    const present = new Set();
    let after = null;
    for (const service of sight.services) {
      present.add(service.name);
      let card = this.services.get(service.name);
      if (!card) {
        card = new Card(service, this.onCall);
        this.services.set(service.name, card);
      }
      const next = after ? after.nextSibling : this.root.firstChild;
      if (next !== card.element) this.root.insertBefore(card.element, next);
      after = card.element;
      card.show(service);
    }
    for (const [name, card] of this.services) {
      if (present.has(name)) continue;
      card.element.remove();
      this.services.delete(name);
    }
    this.overview(sight);
    this.compare(sight);
    this.tick();
  }

  /// Ages go on between two looks.
  tick() {
    if (this.shown === undefined) return;
    const since = performance.now() - this.shown;
    for (const card of this.services.values()) card.tick(since);
  }

  overview(sight) {
    const nodes = sight.services.flatMap((service) => service.nodes);
    const called = nodes.filter((node) => node.state !== "listed");
    const ready = called.filter((node) => node.state === "ready").length;
    const flying = nodes.reduce((sum, node) => sum + node.inFlight, 0);
    this.fact("services", String(sight.services.length + sight.leftOut));
    this.fact("nodes ready", called.length ? `${ready} of ${called.length}` : "none");
    this.fact("calls in flight", String(flying));
    this.fact("registry", sight.registry);
    this.trouble.hidden = !sight.registryError;
    if (sight.registryError) {
      write(this.trouble, `The registry does not say which services there are: ${sight.registryError}`);
    }
  }

  fact(name, text) {
    let value = this.factTexts.get(name);
    if (!value) {
      value = el("dd");
      this.factTexts.set(name, value);
      this.facts.append(el("div", {}, el("dt", {}, name), value));
    }
    write(value, text);
  }

  /// Tells what is different from the last look.
  compare(sight) {
    const now = new Map();
    const heard = new Set();
    for (const service of sight.services) {
      if (service.ageMs !== null) heard.add(service.name);
      for (const node of service.nodes) now.set(JSON.stringify([service.name, node.id]), [service.name, node]);
    }
    if (this.before) {
      for (const [key, [service, node]] of this.before) {
        if (!now.has(key)) this.note("gone", "bad", service, node);
      }
      for (const [key, [service, node]] of now) {
        const known = this.before.get(key)?.[1];
        const [word, tone] = STATES[node.state] ?? [node.state, "quiet"];
        // What is there when its service is heard of first is no change.
        if (!known && !this.heard.has(service)) continue;
        if (!known) this.note(`new, ${word}`, tone, service, node);
        else if (known.state !== node.state) this.note(word, tone, service, node);
        else if (known.address !== node.address) this.note("moved", "odd", service, node);
      }
    }
    this.before = now;
    this.heard = heard;
  }

  note(word, tone, service, node) {
    if (!this.noted) this.log.replaceChildren();
    this.noted = true;
    const time = new Date();
    const item = el(
      "li",
      {},
      el("time", { datetime: time.toISOString() }, time.toTimeString().slice(0, 8)),
      el("span", { class: `state ${tone}` }, word),
      el("span", { class: "who" }, el("b", {}, service), ` ${node.id}`),
    );
    this.log.prepend(item);
    while (this.log.children.length > CHANGES_MAX) this.log.lastChild.remove();
  }
}

/// One service.
class Card {
  constructor(service, onCall) {
    this.rows = new Map();
    this.title = el("h2", {}, service.name);
    this.versions = el("span", { class: "versions" });
    this.sum = el("span", { class: "sum" });
    this.age = el("span", { class: "age" });
    this.error = el("p", { class: "error", hidden: true });
    this.none = el("p", { class: "quiet none" }, "No nodes.");
    this.more = el("p", { class: "quiet none", hidden: true });
    this.call = el("button", { type: "button", class: "small", "aria-label": `Call ${service.name}` }, "Call");
    this.call.addEventListener("click", () => onCall(service.name));
    this.body = el("tbody");
    const heads = COLUMNS.map((name) => el("th", { scope: "col" }, name));
    this.table = el(
      "table",
      { "aria-label": `Nodes of ${service.name}` },
      el("thead", {}, el("tr", {}, ...heads)),
      this.body,
    );
    this.element = el(
      "article",
      { class: "card", "data-service": service.name },
      el("div", { class: "head" }, this.title, this.versions, this.sum, this.age, this.call),
      this.error,
      this.table,
      this.none,
      this.more,
    );
  }

  show(service) {
    this.ageMs = service.ageMs;
    this.exported = service.exported;
    const nodes = service.nodes;
    const versions = [...new Set(nodes.map((node) => node.version || "no version"))];
    write(this.versions, versions.join(", "));
    const ready = nodes.filter((node) => node.state === "ready").length;
    const all = nodes.length + service.leftOut;
    write(this.sum, service.exported ? `${ready} of ${count(all, "node")} ready` : count(all, "node"));
    const isWell = !service.exported || (ready === all && all > 0);
    mark(this.sum, "data-tone", !service.exported ? "quiet" : isWell ? "good" : ready ? "odd" : "bad");
    this.call.hidden = !service.exported;
    this.error.hidden = !service.error;
    write(this.error, service.error ?? "");
    this.table.hidden = nodes.length === 0;
    this.none.hidden = nodes.length !== 0;
    this.more.hidden = service.leftOut === 0;
    write(this.more, `${count(service.leftOut, "more node")} not shown.`);
    this.fill(nodes);
  }

  fill(nodes) {
    const present = new Set();
    let after = null;
    for (const node of nodes) {
      present.add(node.id);
      let row = this.rows.get(node.id);
      if (!row) {
        row = new Row(node);
        this.rows.set(node.id, row);
      }
      const next = after ? after.nextSibling : this.body.firstChild;
      if (next !== row.element) this.body.insertBefore(row.element, next);
      after = row.element;
      row.show(node);
    }
    for (const [id, row] of this.rows) {
      if (present.has(id)) continue;
      row.element.remove();
      this.rows.delete(id);
    }
  }

  tick(since) {
    const known = this.ageMs === null ? "not heard of yet" : `snapshot ${span(this.ageMs + since)} old`;
    write(this.age, this.exported ? known : `${known}, not exported`);
  }
}

/// One node.
class Row {
  constructor(node) {
    this.state = el("span", { class: "state" });
    this.cells = COLUMNS.slice(1).map((name) => el("td", { "data-label": name }));
    const [id, version, address, flying, latency] = this.cells;
    id.className = "id";
    version.className = "mono";
    address.className = "mono";
    flying.className = "number";
    latency.className = "number";
    this.element = el(
      "tr",
      { "data-node": node.id },
      el("td", { "data-label": COLUMNS[0] }, this.state),
      ...this.cells,
    );
  }

  show(node) {
    const [word, tone] = STATES[node.state] ?? [node.state, "quiet"];
    const held = node.held ? ", held" : "";
    const away = node.ejectedForMs > 0 ? `, ${span(node.ejectedForMs)} left` : "";
    write(this.state, word + held + away);
    mark(this.state, "class", `state ${tone}`);
    mark(this.element, "data-state", node.state);
    const isCalled = node.state !== "listed";
    const texts = [
      node.id,
      node.version,
      node.address,
      isCalled ? String(node.inFlight) : "",
      node.latencyUs > 0 ? span(node.latencyUs / 1000) : "",
      node.lastError ?? "",
    ];
    texts.forEach((text, at) => write(this.cells[at], text));
    const more = Object.entries(node.metadata).map(([key, value]) => `${key}=${value}`);
    mark(this.cells[0], "title", more.join("\n"));
    mark(this.cells[5], "class", node.lastError ? "last" : "last empty");
  }
}
