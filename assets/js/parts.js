// The files of the chosen base model: which are here, and where the others can be had and go.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h, icon } = at;

  at.widgets.parts = ({ root, server }) => {
    const summary = h("summary");
    const body = h("div", { class: "parts-body" });
    const fold = h("details", { class: "parts", hidden: true }, summary, body);
    root.append(fold);
    let shown = null; // the model part of the form that was asked about
    let drawn = "";

    async function ask(model) {
      shown = model;
      const answer = await server.parts(0);
      if (!answer || shown !== model) return;
      const key = JSON.stringify(answer);
      if (key === drawn) return;
      drawn = key;
      draw(answer);
    }

    function draw({ parts, by_hand, models }) {
      const isOwn = (part) => by_hand || !part.within; // of a checkpoint that is downloaded whole, one line counts
      const missing = parts.filter((part) => !part.found && isOwn(part));
      fold.hidden = !parts.length;
      fold.open = missing.length > 0;
      summary.replaceChildren(h("span", { text: t("parts.title") }), h("span", { class: missing.length ? "missing" : "muted", text: missing.length ? t("parts.missing", { n: missing.length, size: at.gb(missing.reduce((sum, { size_gib }) => sum + size_gib, 0)) }) : t("parts.all") }));
      const heads = ["part", "file", "size", "licence", "place"].map((name) => h("th", { scope: "col", text: t(`parts.${name}`) }));
      const note = missing.length ? h("p", { class: "muted", text: by_hand ? t("parts.by_hand", { folder: models }) : t("parts.download", { folder: parts[0].folder, models }) }) : null;
      body.replaceChildren(h("table", {}, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, parts.map((part) => row(part, by_hand, isOwn(part))))), note ?? "");
    }

    const modelOf = ({ toml, base }) => /^\[model\][^[]*/m.exec(toml)?.[0] ?? base;
    let latest = null;
    at.on("form", (form) => {
      latest = modelOf(form);
      if (latest !== shown) ask(latest);
    });
    // files may have come meanwhile
    at.on("tab", (tab) => tab === "train" && latest !== null && ask(latest));
  };

  function row(part, byHand, isOwn) {
    const state = h("i", { class: `icon icon-${part.found ? "ok" : "download"}`, role: "img", "aria-label": t(part.found ? "parts.here" : "parts.not_here"), title: t(part.found ? "parts.here" : "parts.not_here") });
    const page = h("a", { href: part.page, target: "_blank", rel: "noopener noreferrer", title: part.source, text: part.file });
    const file = isOwn ? page : h("span", { class: "muted", text: t("parts.within", { file: part.within }) });
    const gated = part.gated ? h("span", { title: t("parts.gated") }, icon("lock"), h("span", { class: "visually-hidden", text: t("parts.gated") })) : null;
    const missing = byHand ? t("parts.put", { folder: part.folder }) : t("parts.comes");
    return h("tr", { data: { found: String(Boolean(part.found)) } },
      h("th", { scope: "row" }, state, h("span", { text: part.title })),
      h("td", { data: { name: t("parts.file") } }, file),
      h("td", { class: "size", data: { name: t("parts.size") }, text: isOwn ? at.gb(part.size_gib) : "" }),
      h("td", { class: "licence", data: { name: t("parts.licence") } }, h("span", { text: part.licence }), gated),
      h("td", { class: "place", title: part.found || null, data: { name: t("parts.place") }, text: part.found ? part.place : missing }));
  }
})();
