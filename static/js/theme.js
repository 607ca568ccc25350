// The theme follows the system unless the reader has chosen one; the choice is applied in <head> before anything is drawn.
const ORDER = ["auto", "light", "dark"];
const LABELS = { auto: "Theme: as the system", light: "Theme: light", dark: "Theme: dark" };

function stored() {
  try {
    return localStorage.getItem("ceres-theme") ?? "auto";
  } catch {
    return "auto";
  }
}

function apply(choice, button) {
  const root = document.documentElement;
  if (choice === "auto") delete root.dataset.theme;
  else root.dataset.theme = choice;
  root.dataset.bsTheme = resolved();
  button.dataset.choice = choice;
  button.setAttribute("aria-label", LABELS[choice]);
  button.title = LABELS[choice];
  document.dispatchEvent(new CustomEvent("ceres:theme"));
}

export function resolved() {
  const choice = document.documentElement.dataset.theme;
  return choice ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
}

const button = document.querySelector("[data-theme-toggle]");
if (button) {
  button.hidden = false;
  apply(stored(), button);
  button.addEventListener("click", () => {
    const next = ORDER[(ORDER.indexOf(stored()) + 1) % ORDER.length];
    try {
      localStorage.setItem("ceres-theme", next);
    } catch {
      // Storage is switched off: the choice then lasts for this page only.
    }
    apply(next, button);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => apply(stored(), button));
}
