// The link's token stands behind the #: no browser sends it, and it leaves the address at once.
const form = document.getElementById("welcome");
const link = location.hash.slice(1);
history.replaceState(null, "", location.pathname);
if (link) form.elements.link.value = link;
if (!form.elements.link.value) document.getElementById("no-link").hidden = false;

// At a simulator nobody has to think of a password: one is made here, and forgotten.
document.getElementById("look-around")?.addEventListener("click", () => {
  const made = [...crypto.getRandomValues(new Uint8Array(24))].map((each) => each.toString(16).padStart(2, "0")).join("");
  for (const name of ["password", "again"]) form.elements[name].value = made;
  form.requestSubmit();
});
