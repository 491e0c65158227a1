// Runs first of all: the saved language decides which page is shown, the saved theme how it looks.
(() => {
  const saved = (key) => { try { return localStorage.getItem(key); } catch { return null; } };
  const home = location.pathname.replace(/\/zh\/?$/, "/");
  const chinese = home !== location.pathname;
  const language = saved("atelier-language");
  if (language === "zh" && !chinese) location.replace(home.replace(/\/?$/, "/zh/") + location.search + location.hash);
  if (language === "en" && chinese) location.replace(home + location.search + location.hash);
  const theme = saved("atelier-theme");
  const dark = theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  // Gradio sets the class by the system's wish when it starts; the saved one is set again after that, in shell.js.
  document.body.classList.toggle("dark", dark);
  document.documentElement.lang = chinese ? "zh-CN" : "en";
})();
