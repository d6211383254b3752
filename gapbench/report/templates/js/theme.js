// The theme: the system's, until the reader chooses light or dark.

const THEMES = ["system", "light", "dark"];
const themeSwitch = document.getElementById("theme");

function setTheme(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  themeSwitch.textContent = `Theme: ${theme}`;
  themeSwitch.dataset.choice = theme;
}

function storedTheme() {
  try {
    return localStorage.getItem("gapbench-theme");
  } catch {
    return null; // some browsers give files no storage
  }
}

themeSwitch.hidden = false;
setTheme(THEMES.includes(storedTheme()) ? storedTheme() : "system");
themeSwitch.addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(themeSwitch.dataset.choice) + 1) % THEMES.length];
  setTheme(next);
  try {
    localStorage.setItem("gapbench-theme", next);
  } catch {
    // without storage the choice lasts as long as the page
  }
});
