// A ticket that was sent when the sign-in was over is not lost: the service sends its visitor to the sign-in and back, and
// the form is filled as it was, with the key that names its order. Kept in this tab alone, for its user alone. What is typed
// to confirm is typed anew, and no hidden field is changed but the key: what is sent is what is seen.
const FORMS = ["/orders", "/options/sell"];
const ANEW = ["csrf", "confirm_account"];
const PLACE = "ibkit.kept";

const read = () => {
  try { return JSON.parse(sessionStorage.getItem(PLACE)); } catch { return null; }
};

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post" || !FORMS.includes(form.getAttribute("action"))) return;
  const fields = [...new FormData(form)].filter(([name, value]) => !ANEW.includes(name) && typeof value === "string");
  sessionStorage.setItem(PLACE, JSON.stringify({ action: form.getAttribute("action"), user: document.body.dataset.user, fields }));
});

function fill(form, fields) {
  const given = new Map(fields);
  const own = [...form.elements].filter((field) => field.name && !ANEW.includes(field.name));
  if (own.some((field) => field.type === "hidden" && field.name !== "key" && field.value !== given.get(field.name))) return;
  for (const field of own) {
    if (field.type === "checkbox") field.checked = given.has(field.name);
    else if (field.type === "radio") field.checked = given.get(field.name) === field.value;
    else if (given.has(field.name)) field.value = given.get(field.name);
  }
  form.dispatchEvent(new Event("change", { bubbles: true }));
  const told = document.createElement("p");
  told.className = "notice";
  told.dataset.testid = "kept";
  told.textContent = document.body.dataset.kept;
  form.prepend(told);
}

// On any other page than the sign-in the answer has come, and nothing is kept any longer.
const kept = read();
if (kept !== null && location.pathname.startsWith("/sign-in")) {
  sessionStorage.setItem(PLACE, JSON.stringify({ ...kept, over: true }));
} else if (kept !== null) {
  sessionStorage.removeItem(PLACE);
  const form = document.querySelector(`form[method="post"][action="${kept.action}"]`);
  if (kept.over && form && kept.user === document.body.dataset.user) fill(form, kept.fields);
}
