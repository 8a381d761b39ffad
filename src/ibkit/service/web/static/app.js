// What every page does: theme, ages that tick, one send a click, questions before what cannot be undone, keys, and the
// state of the connection when the tab is looked at again. No text stands here: pages bring theirs.
import "./kept.js";

const root = document.documentElement;

for (const button of document.querySelectorAll("[data-theme-toggle]")) {
  button.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    localStorage.setItem("theme", root.dataset.theme);
  });
}

// -- moments ----------------------------------------------------------------------------------------------------

const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const hour = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 90) return `${s} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  if (s < 172800) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

// The page's clock may stand beside the service's (a simulator has its own): the service tells its hour with each page.
const skew = () => {
  const told = document.querySelector("[data-now]")?.dataset.now;
  return told ? Date.parse(told) - loadedAt : 0;
};
const loadedAt = Date.now();
export const now = () => Date.now() + skew();

export function showMoments(within = document) {
  for (const each of within.querySelectorAll("time[data-show]")) {
    const at = Date.parse(each.dateTime);
    if (Number.isNaN(at)) continue;
    each.title ||= day.format(at);
    if (each.dataset.show === "age") each.textContent = span((now() - at) / 1000);
    else if (each.dataset.show === "left") each.textContent = span((at - now()) / 1000);
    else {
      const today = new Date(at).toDateString() === new Date(now()).toDateString();
      each.textContent = (today ? hour : day).format(at);
    }
  }
}
showMoments();
setInterval(() => { if (!document.hidden) showMoments(); }, 1000);

// -- the state ----------------------------------------------------------------------------------------------------

function placeTemplates(within) {
  for (const template of within.querySelectorAll("template[data-into]")) {
    const place = document.querySelector(template.dataset.into);
    if (place && place.innerHTML !== template.innerHTML) place.replaceChildren(template.content.cloneNode(true));
    if (template.dataset.env) document.body.dataset.env = template.dataset.env;
  }
}

// `tick`: every five seconds while somebody looks, `turn`: every fifteen. `look`: somebody looks again.
const tell = (name) => { if (!document.hidden) document.body.dispatchEvent(new CustomEvent(name)); };
setInterval(() => tell("tick"), 5000);
setInterval(() => tell("turn"), 15000);
document.addEventListener("visibilitychange", () => {
  for (const name of ["look", "tick", "turn"]) tell(name);
});

// What could not be renewed, by its path: `lost` where the service gave no answer, `stale` where it refused, `quiet` of
// a stream that it refused.
const lost = document.getElementById("lost");
const failing = new Map();
function tellLost() {
  if (!lost) return;
  const kinds = [...failing.values()];
  const kind = ["lost", "stale", "quiet"].find((each) => kinds.includes(each));
  lost.textContent = kind ? document.body.dataset[kind] : "";
  lost.hidden = !kind;
}
export function failed(path, kind) { failing.set(path, kind); tellLost(); }
export function works(path) { failing.delete(path); tellLost(); }
const pathOf = (ctx) => String(ctx?.request?.action ?? "").split("?")[0];
document.addEventListener("htmx:config:request", (event) => {
  const request = event.detail.ctx.request;
  if (request.method !== "GET") request.headers["X-CSRF-Token"] = document.body.dataset.csrf;
});
document.addEventListener("htmx:error", (event) => failed(pathOf(event.detail.ctx), "lost"));
document.addEventListener("htmx:after:request", (event) => {
  const ctx = event.detail.ctx;
  const where = ctx.response?.raw?.headers?.get("HX-Redirect");
  if (where) location.assign(where);
  if (ctx.response.status < 400) {
    for (const [path, kind] of failing) if (kind === "lost") failing.delete(path);
    works(pathOf(ctx));
  }
});
// Each answer of ours has a trace id: what has none is a proxy's page, which says nothing of the place it came for.
document.addEventListener("htmx:response:error", (event) => {
  const ctx = event.detail.ctx;
  const ours = ctx.response.raw.headers.has("X-Trace-Id");
  if (!ours) ctx.swap = "none";
  if (!ours || ctx.hx?.reswap === "none") failed(pathOf(ctx), ours ? "stale" : "lost");
});
document.addEventListener("htmx:after:swap", () => {
  placeTemplates(document);
  showMoments();
  prepare(document);
});

// -- forms ----------------------------------------------------------------------------------------------------------

// One send a click, and the back button finds the form as it was. What htmx sends is over with its answer, a form that is
// sent with its page: a part that was renewed meanwhile allows nothing.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  if (form.dataset.sent === "yes" && !form.hasAttribute("data-hx-post")) { event.preventDefault(); return; }
  form.dataset.sent = "yes";
  for (const button of form.querySelectorAll("button:not([type=button])")) button.setAttribute("aria-disabled", "true");
});
function allowAgain(form) {
  delete form.dataset.sent;
  for (const button of form.querySelectorAll("[aria-disabled]")) button.removeAttribute("aria-disabled");
}
addEventListener("pageshow", () => { for (const form of document.querySelectorAll("form[data-sent]")) allowAgain(form); });
document.addEventListener("htmx:finally:request", (event) => {
  const form = event.detail.ctx.sourceElement;
  if (form.matches?.("form[data-sent]")) allowAgain(form);
});

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-opens]");
  if (opener) document.getElementById(opener.dataset.opens)?.showModal();
  if (event.target.closest("[data-closes]")) event.target.closest("dialog")?.close();
  const setter = event.target.closest("[data-sets]");
  if (setter) {
    const field = document.getElementById(setter.dataset.sets);
    field.value = setter.dataset.value;
    field.dispatchEvent(new Event("change", { bubbles: true }));
    setter.closest("[data-choices]")?.replaceChildren();
    field.focus();
  }
  const copier = event.target.closest("[data-copies]");
  if (copier) navigator.clipboard?.writeText(document.getElementById(copier.dataset.copies).textContent.trim());
});

// A file is read here into its field, so that what is sent is what is seen. data-largest: bytes; data-too-large: the text.
document.addEventListener("change", async (event) => {
  const input = event.target;
  if (input.dataset.fills) {
    const file = input.files[0];
    const fault = document.getElementById(`${input.id}-fault`);
    const field = document.getElementById(input.dataset.fills);
    if (!file || !field) return;
    const tooLarge = file.size > Number(input.dataset.largest || 65536);
    if (fault) { fault.hidden = !tooLarge; fault.textContent = tooLarge ? input.dataset.tooLarge : ""; }
    if (tooLarge) { input.value = ""; return; }
    field.value = await file.text();
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }
  // What a choice shows: data-shows="name" on the select, data-when="value …" with data-of="name" on the parts.
  if (input.name) showParts(input.form || document);
});
function showParts(within) {
  for (const part of within.querySelectorAll("[data-of]")) {
    const chosen = within.querySelector(`[name="${part.dataset.of}"]:checked, select[name="${part.dataset.of}"]`);
    const shown = chosen !== null && part.dataset.when.split(" ").includes(chosen.value);
    part.hidden = !shown;
    for (const field of part.querySelectorAll("input, select, textarea")) field.disabled = !shown;
  }
}

function prepare(within) {
  for (const form of within.querySelectorAll("form")) showParts(form);
}
prepare(document);

// -- keys -----------------------------------------------------------------------------------------------------------

let went = 0;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, dialog")) return;
  if (event.key === "g") { went = Date.now(); return; }
  if (Date.now() - went < 1500) {
    const link = document.querySelector(`.side a[data-key="${CSS.escape(event.key)}"]`);
    if (link) { event.preventDefault(); link.click(); }
  }
  if (event.key === "/" ) {
    const search = document.querySelector("[data-search]");
    if (search) { event.preventDefault(); search.focus(); }
  }
  went = 0;
});
