// What comes while a tab is looked at: order events renew their part of the page, quotes change cells. A hidden tab
// listens to nothing, so ten open ones cost as much as one.
import { listen } from "./streams.js";

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
      const text = shown.format(value).replace("-", "−");
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

// What a quote does not tell stays as it was; yesterday's close is no price of now.
function take(quote) {
  const empty = waiting.size === 0;
  for (const field of ["bid", "ask", "last", "bid_size", "ask_size"]) {
    const key = `${quote.conid}:${field}`;
    if (quote[field] === null || (field === "last" && quote.last_is_close)) continue;
    if (cells.has(key)) waiting.set(key, quote[field]);
  }
  if (empty && waiting.size) requestAnimationFrame(paint);
}

function begin() {
  if (document.hidden) { stop(); return; }
  const source = parts[0]?.dataset.events;
  if (source) events ??= listen(source, { order: changed, message: changed });
  const conids = gather();
  if (conids === asked) return;
  quotes?.close();
  asked = conids;
  quotes = conids ? listen(`/quotes/events?conids=${conids}`, { quote: (event) => take(JSON.parse(event.data)) }) : null;
}

function stop() {
  events?.close();
  quotes?.close();
  events = quotes = null;
  asked = "";
}

begin();
document.addEventListener("visibilitychange", begin);
document.addEventListener("htmx:after:swap", begin);
addEventListener("pagehide", stop);
