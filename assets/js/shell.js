// Header, tabs, keys, theme and language.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h, icon, iconButton } = at;
  const TABS = ["train", "expert", "dataset", "captions", "preferences", "runs"];
  let current = "train";

  // ---------------------------------------------------------------- tabs
  const tabButton = (tab) => document.querySelector(`#rail [role="tab"]#tab-${tab}-button`);

  // Opens a tab; for runs also a certain run. The address says where one is, so a reload comes back.
  at.go = (tab, run = null) => {
    tabButton(tab)?.click();
    show(tab, run);
  };

  function show(tab, run) {
    current = tab;
    history.replaceState(null, "", `#${tab}${run ? `/${encodeURIComponent(run)}` : ""}`);
    document.body.dataset.tab = tab;
    at.emit("tab", tab);
    if (run) at.emit("run", run);
  }

  function fromAddress() {
    const [tab, run] = location.hash.slice(1).split("/");
    if (TABS.includes(tab)) at.go(tab, run ? decodeURIComponent(run) : null);
    else show("train", null);
  }

  document.addEventListener("click", (event) => {
    const tab = event.target.closest('#rail [role="tab"]')?.id.match(/^tab-(\w+)-button$/)?.[1];
    if (tab && tab !== current) show(tab, null);
  });
  window.addEventListener("hashchange", fromAddress);

  function whenTabsAreThere() {
    if (!tabButton("runs")) return requestAnimationFrame(whenTabsAreThere);
    fromAddress();
  }

  // ---------------------------------------------------------------- theme and language
  const isDark = () => document.body.classList.contains("dark");

  function setTheme(dark) {
    document.body.classList.toggle("dark", dark);
    at.emit("theme", dark);
  }

  function switchTheme() {
    at.save("theme", isDark() ? "light" : "dark");
    setTheme(!isDark());
  }

  function switchLanguage(language) {
    at.save("language", language);
    const home = location.pathname.replace(/\/zh\/?$/, "/");
    location.assign((language === "zh" ? home.replace(/\/?$/, "/zh/") : home) + location.search + location.hash);
  }

  // ---------------------------------------------------------------- keys
  const inText = (target) => target.closest?.("input, textarea, select, [contenteditable]");
  let awaited = 0; // until when a letter after g counts

  function onKey(event) {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.isComposing || inText(event.target)) return;
    const tab = TABS.find((name) => name[0] === event.key);
    if (performance.now() < awaited && tab) at.go(tab);
    awaited = event.key === "g" ? performance.now() + 1200 : 0;
    if (event.key === "?") showKeys();
    if (event.key === "/") {
      event.preventDefault();
      if (current === "train") at.go("expert");
      const box = () => document.querySelector({ runs: "#at-run-search", dataset: "#ds-search" }[current] ?? "#at-search");
      (function focus(tries) { box()?.getClientRects().length ? box().focus() : tries && setTimeout(() => focus(tries - 1), 100); })(20);
    }
  }

  function showKeys() {
    if (document.querySelector("dialog[open]")) return;
    const rows = [["g t", "tab.train"], ["g e", "tab.expert"], ["g d", "tab.dataset"], ["g c", "tab.captions"], ["g p", "tab.preferences"], ["g r", "tab.runs"], ["/", "keys.search"], ["?", "keys.list"], ["Esc", "keys.close"]];
    if (current === "dataset") rows.push(["\u2191 \u2193 \u2190 \u2192", "keys.pictures"], ["Enter", "keys.caption"], ["Ctrl Enter", "keys.next"], ["Ctrl Z", "keys.undo"], ["Delete", "keys.trash"]);
    if (current === "captions") rows.push(["\u2191 \u2193 \u2190 \u2192", "keys.pictures"], ["Enter", "keys.caption"], ["Ctrl Enter", "keys.next"]);
    const table = h("dl", { class: "keys" }, rows.map(([keys, word]) => [h("dt", {}, keys.split(" ").map((key) => h("kbd", { text: key }))), h("dd", { text: t(word) })]).flat());
    at.dialog(t("keys.title"), table, [[t("common.close"), ""]]);
  }

  window.atelierKeys?.abort();
  window.atelierKeys = new AbortController();
  document.addEventListener("keydown", onKey, { signal: window.atelierKeys.signal });

  // ---------------------------------------------------------------- header
  at.widgets.header = ({ root, props, server }) => {
    setTheme(at.load("theme") ? at.load("theme") === "dark" : isDark());
    const other = props.language === "en" ? "zh" : "en";
    const title = h("strong", { class: "where" });
    const chip = h("button", { type: "button", id: "run-chip", class: "chip-run", hidden: true });
    const gauge = h("span", { class: "gauge", hidden: true });
    const language = h("button", { type: "button", id: "language", class: "icon-button text", title: t("header.language"), "aria-label": t("header.language"), text: other === "zh" ? "中" : "A", onclick: () => switchLanguage(other) });
    const theme = iconButton(t("header.theme"), "theme", switchTheme);
    theme.id = "theme";
    root.append(h("div", { class: "brand" }, h("i", { class: "logo", "aria-hidden": "true" }), h("span", { text: "Atelier" })), title, h("span", { class: "grow" }), chip, gauge, iconButton(t("keys.title"), "keys", showKeys), language, theme);
    at.on("tab", (tab) => { title.textContent = t(`tab.${tab}`); });
    whenTabsAreThere();

    chip.addEventListener("click", () => chip.dataset.run && at.go("runs", chip.dataset.run));
    const polling = at.poller(root, 2000, async () => {
      const data = await server.header(0);
      root.parentElement.classList.toggle("lost", !data);
      if (!data) return 4000;
      drawChip(chip, data);
      document.title = data.run && data.state === "running" ? `${Math.round(data.percent)} % ${data.name} - Atelier` : "Atelier";
      drawGauge(gauge, data);
      for (const tab of TABS) tabButton(tab)?.toggleAttribute("data-attention", (data.attention ?? []).includes(tab));
      at.emit("header", data);
      return data.run ? 1000 : 2000;
    });
    at.on("started", () => polling.now());
  };

  function drawChip(chip, data) {
    chip.hidden = !data.run;
    if (!data.run) return;
    const going = ["running", "starting", "stopping", "paused"].includes(data.state);
    const percent = Math.round(data.percent ?? 0);
    const parts = [data.name, ["running", "stopping"].includes(data.state) ? `${percent} %` : t(`state.${data.state}`)];
    if (data.state === "running" && data.eta_s) parts.push(t("header.left", { time: at.time(data.eta_s) }));
    if (data.waiting) parts.push(t("header.waiting", { n: data.waiting }));
    chip.dataset.run = data.run;
    chip.dataset.state = data.state;
    chip.title = t("header.open_run");
    const text = parts.join("\u2002");
    if (chip.textContent !== text) chip.replaceChildren(h("i", { class: `state-icon state-${data.state}` }), h("span", { text }));
    chip.style.setProperty("--part", going ? `${percent}%` : "0%");
  }

  function drawGauge(gauge, data) {
    const card = data.gpu;
    const used = card ? card[1] : data.cpu?.[1];
    const total = card ? card[2] : data.cpu?.[2];
    gauge.hidden = !total;
    if (!total) return;
    const heat = card?.[3] ? `\u2002${Math.round(card[3])} \u00b0C` : "";
    gauge.replaceChildren(
      h("span", { text: card ? "GPU" : "RAM" }),
      h("span", { class: "bar", style: { "--part": `${(100 * used) / total}%` } }),
      h("span", { class: "amount", text: `${used.toFixed(1)} / ${total.toFixed(1)} GB${heat}` }),
    );
  }
})();
