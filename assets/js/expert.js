// The expert's widgets: groups with search, and the configuration as TOML, as changes and as a command.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h, icon } = at;

  at.widgets.groups = ({ root, props, server }) => {
    const search = h("input", { id: "at-search", type: "search", placeholder: t("expert.search"), "aria-label": t("expert.search"), autocomplete: "off", spellcheck: "false" });
    const links = props.value.map(({ section, title }) => h("button", { type: "button", class: "group-link", data: { go: section } }, h("span", { text: title }), h("span", { class: "count", data: { count: section } })));
    root.append(h("label", { class: "search" }, icon("search"), search, h("kbd", { text: "/" })), h("nav", { "aria-label": t("expert.groups") }, links), h("button", { type: "button", class: "link all", data: { reset: "" }, hidden: true, text: t("expert.reset_all") }));
    let asked = 0;
    search.addEventListener("input", async () => {
      const mine = ++asked;
      const query = search.value.trim();
      const hits = query ? await server.search(query) : null;
      if (mine === asked) filter(hits && new Set(hits));
    });
    search.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      asked += 1; // an answer on its way must not filter again
      search.value = "";
      filter(null);
      search.blur();
    });
    at.on("form", counts);
    at.on("tab", (tab) => tab === "expert" && setTimeout(() => counts(), 0));
  };

  // hits: set of paths, or null for everything. A group with a hit opens. Where all hits are hidden, the reason is told.
  function filter(hits) {
    const hidden = latest?.hidden ?? {};
    let found = 0;
    for (const group of document.querySelectorAll('.group[id^="g-"]')) {
      let inside = 0;
      for (const field of group.querySelectorAll('.field[id^="x-"]')) {
        const path = field.id.slice(2).replace("-", ".");
        const shown = !hits || hits.has(path);
        field.classList.toggle("is-out", !shown);
        inside += shown && !(path in hidden);
      }
      group.classList.toggle("is-out", !inside);
      if (hits && inside) fold(group, false);
      document.querySelector(`[data-go="${group.id.slice(2)}"]`)?.classList.toggle("is-out", !inside);
      found += inside;
    }
    const unfit = [...(hits ?? [])].find((path) => path in hidden);
    document.querySelector(".no-hits .nothing").textContent = (!found && unfit && hidden[unfit]) || t("expert.nothing");
    for (const host of document.querySelectorAll(".no-hits")) host.classList.toggle("is-shown", !found); // Gradio nests two
  }

  function fold(group, closed) {
    group.classList.toggle("is-folded", closed);
    group.querySelector("[data-fold]")?.setAttribute("aria-expanded", String(!closed));
  }

  let latest = null;
  function counts(form = latest) {
    latest = form;
    if (!form) return;
    for (const badge of document.querySelectorAll("[data-count]")) {
      const count = form.counts[badge.dataset.count] ?? 0;
      badge.textContent = count ? String(count) : "";
      badge.title = count ? t("expert.modified", { n: count }) : "";
    }
    for (const reset of document.querySelectorAll("[data-reset]")) {
      reset.hidden = !(reset.dataset.reset ? form.counts[reset.dataset.reset] : form.modified.length);
    }
  }

  document.addEventListener("click", (event) => {
    const target = event.target.closest("[data-go], [data-fold], button[data-reset]");
    if (!target) return;
    if (target.dataset.reset !== undefined) return at.act("reset", target.dataset.reset);
    const group = document.getElementById(`g-${target.dataset.go ?? target.dataset.fold}`);
    if (target.dataset.fold) return fold(group, !group.classList.contains("is-folded"));
    fold(group, false);
    group.scrollIntoView({ block: "start", behavior: "smooth" });
  });

  // ---------------------------------------------------------------- TOML
  at.widgets.toml = ({ root }) => {
    let view = "toml";
    let form = null;
    const pane = h("pre", { class: "code", tabindex: "0" });
    const line = h("p", { class: "line" });
    const problems = h("ul", { class: "checks" });
    const tabs = ["toml", "changes", "command"].map((name) => h("button", { type: "button", role: "tab", class: "mini-tab", data: { view: name }, text: t(`toml.${name}`), onclick: () => { view = name; draw(); } }));
    root.append(h("section", { class: "plan" },
      h("div", { class: "mini-tabs", role: "tablist" }, tabs),
      pane,
      h("div", { class: "actions" },
        at.button(t("common.copy"), "copy", () => form && at.copy(text())),
        at.button(t("toml.load"), "upload", openLoader),
        at.button(t("toml.save"), "download", () => form && at.download("atelier.toml", new Blob([form.toml], { type: "text/plain" })))),
      problems, line));

    const text = () => (view === "toml" ? form.toml : view === "command" ? form.command : form.modified.map((path) => `${path}: ${form.defaults[path] || t("state.empty")}`).join("\n"));
    function draw() {
      for (const tab of tabs) tab.setAttribute("aria-selected", String(tab.dataset.view === view));
      if (!form) return;
      const keep = pane.scrollTop;
      pane.replaceChildren(...(view === "toml" ? (form.toml ? toml(form) : [h("span", { class: "muted", text: t("toml.not_yet") })]) : view === "changes" ? changes(form) : [h("span", { text: form.command })]));
      pane.classList.toggle("wraps", view !== "toml");
      pane.scrollTop = keep;
      line.textContent = form.line;
      problems.replaceChildren(...Object.entries(form.errors).map(([path, message]) => h("li", { class: "problem" }, icon("problem"), h("div", {}, h("code", { text: path }), h("span", { text: ` ${message}` })))));
    }
    at.on("form", (record) => { form = record; draw(); });
    draw();
  };

  // Lines of TOML, with section names and changed values set apart.
  function toml(form) {
    let section = "";
    return form.toml.split("\n").map((line) => {
      section = line.match(/^\[(\w+)\]$/)?.[1] ?? section;
      const key = line.match(/^(\w+) = /)?.[1];
      const kind = line.startsWith("[") ? "head" : key && form.modified.includes(`${section}.${key}`) ? "changed" : "";
      return h("span", { class: kind, text: `${line}\n` });
    });
  }

  function changes(form) {
    if (!form.modified.length) return [h("span", { class: "muted", text: t("toml.no_changes") })];
    return form.modified.map((path) => h("span", { class: "change" }, h("code", { text: path }), h("del", { text: form.defaults[path] || t("state.empty") }), h("ins", { text: form.changed[path] || t("state.empty") })));
  }

  function openLoader() {
    const box = h("textarea", { class: "code", rows: "14", spellcheck: "false", placeholder: t("toml.paste"), "aria-label": t("toml.paste") });
    const file = h("input", { type: "file", accept: ".toml,text/plain", onchange: async () => { box.value = await file.files[0].text(); } });
    at.dialog(t("toml.load_title"), h("div", { class: "loader" }, h("p", { class: "muted", text: t("toml.load_note") }), file, box), [
      [t("common.cancel"), ""],
      [t("toml.use"), "primary", () => (box.value.trim() ? void at.act("toml", box.value) : false)],
    ]);
    box.focus();
  }
})();
