// A file goes to our own interface as it is, with the page's CSRF token: no form holds one of some megabytes.
//
// On the form: data-upload (where it goes), data-then (the page after it; {id} is of the answer), data-largest (bytes),
// data-too-large, data-lost, data-trace (texts). A field with data-query stands in the address.

const KINDS = { json: "application/json", yaml: "application/yaml", yml: "application/yaml", csv: "text/csv", xml: "application/xml" };

function show(box, lines) {
  box.replaceChildren(...lines.map((line, at) => {
    const part = document.createElement("p");
    const words = at === 0 ? part.appendChild(document.createElement("strong")) : part;
    words.textContent = line;
    return part;
  }));
  box.hidden = lines.length === 0;
}

function addressOf(form, file, ending) {
  const query = new URLSearchParams();
  for (const field of form.querySelectorAll("[data-query]")) {
    const value = field.value.trim() || (field.dataset.query === "name" ? file.name.replace(/\.[^.]*$/, "") : "");
    if (ending === "csv" && value) query.set(field.dataset.query, value);
  }
  return form.dataset.upload + (query.size ? `?${query}` : "");
}

async function send(form) {
  const file = form.querySelector("input[type=file]").files[0];
  const failure = form.querySelector("[data-upload-failure]");
  show(failure, []);
  if (!file) return;
  if (file.size > Number(form.dataset.largest)) { show(failure, [form.dataset.tooLarge]); return; }
  const ending = file.name.split(".").pop().toLowerCase();
  const wait = form.querySelector("[data-upload-wait]");
  wait.classList.add("on");
  try {
    const headers = { "Content-Type": KINDS[ending] || "application/octet-stream", "X-CSRF-Token": document.body.dataset.csrf };
    const answer = await fetch(addressOf(form, file, ending), { method: "POST", headers, body: file });
    const told = await answer.json();
    if (answer.ok) { location.assign(form.dataset.then.replace("{id}", encodeURIComponent(told.id ?? ""))); return; }
    const { message, remedy = [], code, trace_id: trace } = told.error;
    show(failure, [message, ...[remedy].flat(), `${code} · ${form.dataset.trace} ${trace}`]);
  } catch {
    show(failure, [form.dataset.lost]);
  } finally {
    wait.classList.remove("on");
  }
}

let sending = false;
document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form[data-upload]");
  if (!form) return;
  event.preventDefault();
  if (sending) return;
  sending = true;
  try { await send(form); } finally {
    sending = false;
    delete form.dataset.sent;
    for (const button of form.querySelectorAll("[aria-disabled]")) button.removeAttribute("aria-disabled");
  }
});
