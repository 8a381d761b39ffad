// The link's token stands behind the #: no browser sends it, and it leaves the address at once.
const form = document.getElementById("welcome");
const link = location.hash.slice(1);
history.replaceState(null, "", location.pathname);
if (link) form.elements.link.value = link;
if (!form.elements.link.value) document.getElementById("no-link").hidden = false;
