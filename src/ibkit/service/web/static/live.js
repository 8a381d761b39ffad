// What comes while a tab is looked at: order events renew their part of the page, quotes change cells. A hidden tab
// listens to nothing, so ten open ones cost as much as one.
import { showMoments } from "./app.js";

const parts = [...document.querySelectorAll("[data-events]")];
let events = null, quotes = null, asked = "";

// -- orders -------------------------------------------------------------------------------------------------------

let due = 0;
function changed() {
  if (due) return;
  due = setTimeout(() => {
    due = 0;
    for (const part of parts) htmx.ajax("GET", part.dataset.hxGet, { target: part, swap: part.dataset.hxSwap || "innerHTML" });
  }, 150);
}

// -- quotes: { "conid:field": [cells] }; at most one write a frame for each cell --------------------------------------

let cells = new Map();
const waiting = new Map();
const shown = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 4 }); // as the service

function gather() {
  cells = new Map();
  const conids = new Set();
  for (const cell of document.querySelectorAll("[data-quote]")) {
    const key = cell.dataset.quote;
    conids.add(key.split(":")[0]);
    cells.set(key, [...(cells.get(key) || []), cell]);
  }
  return [...conids].slice(0, 30).join(",");
}

function paint() {
  for (const [key, value] of waiting) {
    for (const cell of cells.get(key) || []) {
      const text = value === null ? "–" : shown.format(value);
      if (cell.textContent === text) continue;
      cell.textContent = text;
      const box = cell.closest("td");
      if (box && !matchMedia("(prefers-reduced-motion: reduce)").matches) {
        box.classList.remove("moved");
        requestAnimationFrame(() => box.classList.add("moved"));
      }
    }
  }
  waiting.clear();
}

export function take(quote) {
  const empty = waiting.size === 0;
  for (const field of ["bid", "ask", "last", "bid_size", "ask_size"]) {
    const key = `${quote.conid}:${field}`;
    if (cells.has(key)) waiting.set(key, quote[field]);
  }
  if (empty && waiting.size) requestAnimationFrame(paint);
}

function listen() {
  if (document.hidden) { stop(); return; }
  const source = parts[0]?.dataset.events;
  if (source && !events) {
    events = new EventSource(source);
    for (const name of ["order", "message"]) events.addEventListener(name, changed);
  }
  const conids = gather();
  if (conids === asked && quotes) return;
  quotes?.close();
  quotes = null;
  asked = conids;
  if (conids) {
    quotes = new EventSource(`/quotes/events?conids=${conids}`);
    quotes.addEventListener("quote", (event) => take(JSON.parse(event.data)));
  }
}

function stop() {
  events?.close();
  quotes?.close();
  events = quotes = null;
  asked = "";
}

listen();
document.addEventListener("visibilitychange", listen);
document.addEventListener("htmx:after:swap", () => { showMoments(); listen(); });
addEventListener("pagehide", stop);
