// Prices of what is held, while the page is open: from the stream of quotes, or where there is none, from the portfolio
// as it is synced, read again every minute. They are for display alone; no figure of the books is made of them. SYN-17.

const PAUSE_MS = 60000;
const places = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 6 });
const cents = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const shown = (format, value) => format.format(value).replace("-", "−");

let stream = null;
let timer = null;

function put(row, name, text) {
  const cell = row.querySelector(`[data-cell="${name}"]`);
  if (!cell || cell.textContent === text) return;
  cell.textContent = text;
  const td = cell.closest("td");
  td.classList.remove("moved");
  void td.offsetWidth;
  td.classList.add("moved");
}

function move(conid, price, value) {
  for (const row of document.querySelectorAll(`tr[data-conid="${conid}"]`)) {
    const worth = value ?? price * Number(row.dataset.units) * Number(row.dataset.multiplier);
    put(row, "price", shown(places, price));
    put(row, "value", shown(cents, worth));
    row.dataset.now = String(worth);
  }
  total();
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

function heard(event) {
  const quote = JSON.parse(event.data);
  const price = quote.last ?? (quote.bid !== null && quote.ask !== null ? (quote.bid + quote.ask) / 2 : null);
  if (price === null) return;
  move(quote.conid, price);
  if (quote.at) mark(quote.at, "liveText");
}

async function readAgain(place) {
  const answer = await fetch(place.dataset.livePortfolio).catch(() => null);
  if (!answer?.ok) return;
  const told = await answer.json();
  let newest = "";
  for (const account of told.accounts) for (const each of account.holdings) {
    if (each.conid === null || each.market_price === null) continue;
    move(each.conid, each.market_price, each.market_value ?? undefined);
    if (each.synced_at > newest) newest = each.synced_at;
  }
  if (newest) mark(newest, "polledText");
}

function begin() {
  const place = document.querySelector("[data-live]");
  end();
  if (!place || document.hidden) return;
  stream = new EventSource(`/quotes/events?conids=${encodeURIComponent(place.dataset.live)}`);
  stream.addEventListener("quote", heard);
  stream.addEventListener("error", () => {
    if (stream?.readyState !== EventSource.CLOSED) return; // it comes back by itself
    end();
    timer = setInterval(() => { if (!document.hidden) readAgain(place); }, PAUSE_MS);
  });
}

function end() {
  stream?.close();
  stream = null;
  clearInterval(timer);
}

document.addEventListener("visibilitychange", () => (document.hidden ? end() : begin()));
document.addEventListener("htmx:after:swap", (event) => {
  if (event.target?.id === "account-body" || document.querySelector("[data-live][hidden]")) begin();
});
addEventListener("pagehide", end);
begin();
