// The page: keeps connected to the gateway, and shows what it says.

import { Calls } from "./dashboard.call.js";
import { write, mark } from "./dashboard.dom.js";
import { View } from "./dashboard.view.js";

// The gateway speaks every two seconds. Who is silent for longer than this is not connected.
const SILENCE_MAX_MS = 7000;
const RETRY_MS = 1000;

const connection = document.getElementById("connection");
const calls = new Calls(document.getElementById("call-title"), document.getElementById("call-body"));
const view = new View((service) => calls.open(service));

let source;
let heard = performance.now();
let told = "connecting";

function tell(state) {
  if (state === told) return;
  told = state;
  mark(connection, "data-state", state);
  write(connection, state === "live" ? "live" : "not connected, trying again");
  document.body.classList.toggle("stale", state !== "live");
}

function connect() {
  source?.close();
  heard = performance.now();
  source = new EventSource("dashboard.events");
  source.onmessage = (event) => {
    heard = performance.now();
    tell("live");
    view.show(JSON.parse(event.data));
  };
  source.onerror = () => {
    tell("lost");
    // The browser tries again by itself, unless it was refused.
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, RETRY_MS);
  };
}

setInterval(() => {
  view.tick();
  if (performance.now() - heard > SILENCE_MAX_MS) {
    tell("lost");
    connect();
  }
}, 1000);

connect();
