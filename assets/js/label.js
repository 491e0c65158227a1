// The page where one can only label: chooses a set, and lets people vote. It asks by plain requests of its own site.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h } = at;
  Object.assign(at.words, JSON.parse(document.getElementById("label-words").textContent));
  const root = document.getElementById("label");
  const chinese = document.documentElement.lang.startsWith("zh");

  // Gives nothing when the server is away, as the server functions of other pages do.
  const asker = (name) => async (question) => {
    try {
      const answer = await fetch(`${chinese ? "/label/zh" : "/label"}/ask/${name}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(question) });
      if (answer.ok) return await answer.json();
      return answer.status === 400 ? { error: t("voting.refused") } : undefined;
    } catch {
      return undefined;
    }
  };
  const ask = Object.fromEntries(["next", "vote", "undo", "stats", "sets"].map((name) => [name, asker(name)]));

  const address = () => new URL(location);
  function choose(set) {
    const url = address();
    if (set) url.searchParams.set("set", set);
    else url.searchParams.delete("set");
    history.replaceState(null, "", url);
  }

  function switchLanguage() {
    at.save("language", chinese ? "en" : "zh");
    const url = address();
    url.pathname = chinese ? "/label/" : "/label/zh/";
    location.assign(url);
  }

  function switchTheme() {
    const dark = document.body.classList.toggle("dark");
    at.save("theme", dark ? "dark" : "light");
  }

  const vote = new at.PreferencesVote({ ask, blind: true, onleave: () => { choose(""); pick(); } });
  const list = h("div", { class: "label-sets" });
  const language = h("button", { type: "button", class: "icon-button text", id: "language", title: t("voting.language"), "aria-label": t("voting.language"), text: chinese ? "A" : "\u4e2d", onclick: switchLanguage });
  const home = h("section", { class: "label-home" }, h("header", {}, h("h1", { text: t("voting.title") }), h("span", { class: "grow" }), language, at.iconButton(t("voting.theme"), "theme", switchTheme)), h("p", { class: "muted", text: t("voting.choose_set") }), list);
  root.append(home, vote.element);

  function open(set) {
    home.hidden = true;
    choose(set);
    vote.open(set);
  }

  async function pick() {
    home.hidden = false;
    const found = await ask.sets(0);
    if (!found) return void setTimeout(pick, 2000);
    list.replaceChildren(...(found.sets.length ? found.sets.map(({ name, pairs }) => h("button", { type: "button", class: "label-set", onclick: () => open(name) }, h("strong", { text: name }), h("span", { class: "muted", text: t("voting.set_pairs", { n: pairs }) }))) : [h("p", { text: t("voting.no_sets") })]));
  }

  const wanted = address().searchParams.get("set");
  if (wanted) open(wanted);
  else pick();
})();
