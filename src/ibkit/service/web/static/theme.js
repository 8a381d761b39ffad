// Before anything is painted: the theme that was chosen here. Without a choice, the machine's own.
(() => {
  const chosen = localStorage.getItem("theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
