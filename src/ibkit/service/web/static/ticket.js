// A preview is of the very form that it was made of: an edit takes it away, also one that is still on its way.
// A chosen contract brings its number; a symbol typed over it takes that away. No text stands here: forms bring theirs.

let edits = 0, asked = 0;

function clearStale() {
  if (asked === edits) return;
  for (const form of document.querySelectorAll("form[data-preview]")) {
    const place = document.getElementById(form.dataset.preview);
    if (!place?.querySelector("[data-testid]")) continue;
    const told = document.createElement("p");
    told.className = "soft";
    told.textContent = form.dataset.stale;
    place.replaceChildren(told);
  }
}

function edited(event) {
  const form = event.target.closest?.("form[data-preview]");
  if (!form) return;
  edits += 1;
  if (event.type === "input" && event.target.name === "symbol" && form.elements.conid) form.elements.conid.value = "";
  clearStale();
}
for (const name of ["input", "change"]) document.addEventListener(name, edited);
document.addEventListener("htmx:after:swap", clearStale);

document.addEventListener("click", (event) => {
  if (event.target.closest("form[data-preview] [data-hx-post]")) asked = edits;
  const chosen = event.target.closest("[data-conid]");
  const field = document.getElementById("f-conid");
  if (chosen && field) field.value = chosen.dataset.conid;
}, true);
