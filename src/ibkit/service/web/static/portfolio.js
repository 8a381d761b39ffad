// A button that waits for a choice: `data-needs` on the form names the field without which it cannot be sent.

function ready(form) {
  const field = document.getElementById(form.dataset.needs);
  const button = form.querySelector("button:not([type=button])");
  if (field && button) button.disabled = !field.value;
}
function readyAll() {
  for (const form of document.querySelectorAll("form[data-needs]")) ready(form);
}
document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-needs]");
  if (form) ready(form);
});
document.addEventListener("htmx:after:swap", readyAll);
readyAll();
