// Prices of what is held, while the page is open: from the stream of quotes, and where that tells nothing, from the
// portfolio as it is synced, read again every minute. They are for display alone; no figure of the books is made of
// them. The rule is the service's own (`repriced`): the mark, else a last price that is not yesterday's close, in real
// time; what is not price x units x multiplier, as a bond, is moved by no price (`data-moves` is missing). SYN-17.
import { listen } from "./streams.js";

const PAUSE_MS = 60000;
const places = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 4 });
const cents = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const shown = (format, value) => format.format(value).replace("-", "−");
const signed = (value) => (value > 0 ? "+" : "") + shown(cents, value);

let stream = null;
let asked = "";
const newest = new Map();

function put(row, name, text) {
  const cell = row.querySelector(`[data-cell="${name}"]`);
  if (!cell || cell.textContent === text) return;
  cell.textContent = text;
  const td = cell.closest("td");
  td.classList.remove("moved");
  void td.offsetWidth;
  td.classList.add("moved");
}

function move(row, price, worth) {
  put(row, "price", shown(places, price));
  put(row, "value", shown(cents, worth));
  row.dataset.now = String(worth);
  if (row.dataset.result === undefined || row.dataset.value === undefined) return;
  const result = Number(row.dataset.result) + worth - Number(row.dataset.value);
  put(row, "result", signed(result));
  const cell = row.querySelector('[data-cell="result"]');
  cell?.classList.toggle("gain", result > 0);
  cell?.classList.toggle("loss", result < 0);
}

function total() {
  const head = document.querySelector("[data-worth]");
  if (!head) return;
  let sum = Number(head.dataset.worth);
  for (const row of document.querySelectorAll("tr[data-now]")) {
    if (row.dataset.value === undefined || row.dataset.rate === undefined) continue;
    sum += (Number(row.dataset.now) - Number(row.dataset.value)) * Number(row.dataset.rate);
  }
  const text = shown(cents, sum);
  const place = head.querySelector("[data-worth-shown]");
  if (place && place.textContent !== text) place.textContent = text;
}

function mark(at, word) {
  for (const each of document.querySelectorAll("[data-live]")) {
    const time = each.querySelector("[data-live-age]");
    each.querySelector("[data-live-word]").textContent = each.dataset[word];
    time.dateTime = at;
    each.hidden = false;
    each.classList.toggle("good", word === "liveText");
  }
}

const priceOf = (quote) =>
  quote.availability !== "real_time" ? null : (quote.mark ?? (quote.last_is_close ? null : quote.last));

function apply(quote) {
  const price = priceOf(quote);
  const rows = document.querySelectorAll(`tr[data-moves][data-conid="${quote.conid}"]`);
  if (price === null || rows.length === 0) return;
  for (const row of rows) move(row, price, price * Number(row.dataset.units) * Number(row.dataset.multiplier));
  total();
  if (quote.at) mark(quote.at, "liveText");
}

function heard(event) {
  const quote = JSON.parse(event.data);
  newest.set(quote.conid, quote);
  apply(quote);
}

// Where the stream told a price, that is the newer one.
async function readAgain(place) {
  const answer = await fetch(place.dataset.livePrices).catch(() => null);
  if (!answer?.ok || answer.redirected) return;
  let at = "";
  for (const each of await answer.json()) {
    const quote = newest.get(each.conid);
    for (const row of document.querySelectorAll(`tr[data-conid="${each.conid}"]`)) {
      if (row.dataset.account !== each.account || (quote && row.dataset.moves !== undefined && priceOf(quote) !== null)) continue;
      move(row, each.price, each.value);
      if (each.at > at) at = each.at;
    }
  }
  total();
  if (at && ![...newest.values()].some((quote) => priceOf(quote) !== null)) mark(at, "polledText");
}

// A part of the page was put in place anew, or somebody looks again: what is listened to goes on where it is the same.
function begin() {
  const place = document.querySelector("[data-live]");
  const conids = place && !document.hidden ? place.dataset.live : "";
  if (conids !== asked) {
    stream?.close();
    newest.clear();
    asked = conids;
    stream = conids ? listen(`/quotes/events?conids=${encodeURIComponent(conids)}`, { quote: heard }, () => newest.clear()) : null;
  }
  for (const quote of newest.values()) apply(quote);
}

function end() {
  stream?.close();
  stream = null;
  asked = "";
}

setInterval(() => {
  const place = document.querySelector("[data-live]");
  if (place && !document.hidden) readAgain(place);
}, PAUSE_MS);
document.addEventListener("visibilitychange", () => (document.hidden ? end() : begin()));
document.addEventListener("htmx:after:swap", begin);
addEventListener("pagehide", end);
addEventListener("pageshow", (event) => { if (event.persisted) begin(); });
begin();
