// Loaded before the style sheets, so that a chosen theme is there when the first thing is drawn.
(function (root) {
  let choice = null;
  try {
    choice = localStorage.getItem("ceres-theme");
  } catch {
    // Storage is switched off: follow the system.
  }
  if (choice === "light" || choice === "dark") root.dataset.theme = choice;
  else choice = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  root.dataset.bsTheme = choice;
  root.classList.add("js");
})(document.documentElement);
