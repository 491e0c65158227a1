// The list of runs, newest first, with search.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h, icon } = at;
  const LIVE = ["queued", "starting", "running", "stopping", "paused"];

  at.stateChip = (state) => h("span", { class: "state", data: { state } }, h("i", { class: `state-icon state-${state}` }), h("span", { text: t(`state.${state}`) }));

  at.widgets.runlist = ({ root, server }) => {
    let chosen = null;
    let shown = "";
    const search = h("input", { id: "at-run-search", type: "search", placeholder: t("runs.search"), "aria-label": t("runs.search"), autocomplete: "off", spellcheck: "false" });
    const list = h("div", { class: "run-list", role: "list" }, Array.from({ length: 4 }, () => h("div", { class: "run-row skeleton" })));
    root.append(h("label", { class: "search" }, icon("search"), search, h("kbd", { text: "/" })), list);

    const polling = at.poller(root, 3000, async () => {
      const runs = await server.runs(search.value.trim());
      if (!runs) return 5000;
      if (!chosen && runs.length) choose(pickFirst(runs));
      const key = JSON.stringify([runs, chosen]);
      if (key !== shown) draw(runs);
      shown = key;
      return runs.some((run) => LIVE.includes(run.state)) ? 1500 : 4000;
    });
    const pickFirst = (runs) => (runs.find((run) => LIVE.includes(run.state)) ?? runs[0]).id;

    function choose(id) {
      if (document.body.dataset.tab === "runs") at.go("runs", id);
      else at.emit("run", id);
    }

    search.addEventListener("input", polling.now);
    search.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      search.value = "";
      search.blur();
      polling.now();
    });
    at.on("run", (id) => { chosen = id; polling.now(); });
    at.on("tab", (tab) => tab === "runs" && polling.now());
    at.on("started", polling.now);
    at.on("deleted", () => { chosen = null; polling.now(); });

    function draw(runs) {
      if (!runs.length) return list.replaceChildren(search.value ? h("p", { class: "muted pad", text: t("runs.no_hits") }) : empty());
      list.replaceChildren(...runs.map((run) => row(run, run.id === chosen, choose)));
    }
  };

  function empty() {
    return h("div", { class: "empty" }, h("i", { class: "drawing drawing-curve", "aria-hidden": "true" }), h("p", { text: t("runs.empty") }), at.button(t("runs.first"), "train", () => at.go("train"), "primary"));
  }

  function row(run, chosen, choose) {
    const percent = run.total ? Math.round((100 * run.step) / run.total) : 0;
    const pictures = at.isOfPictures(run.kind);
    const facts = [run.total ? t(pictures ? (run.kind === "score" ? "runs.scores" : "runs.pictures") : "runs.steps", { step: run.step, total: run.total }) : "", run.loss !== null && run.loss !== undefined ? t("runs.loss", { loss: at.number(run.loss) }) : "", at.when(run.created)];
    const thumb = run.thumb_url ? h("img", { class: "run-thumb", src: run.thumb_url, alt: "", loading: "lazy" }) : h("span", { class: "run-thumb none" }, icon({ caption: "caption", generate: "preferences", score: "preferences", compare: "preferences" }[run.kind] ?? "pictures"));
    return h("button", { type: "button", class: "run-row", role: "listitem", "aria-current": chosen ? "true" : null, data: { run: run.id }, onclick: () => choose(run.id) },
      thumb,
      h("span", { class: "run-text" },
        h("span", { class: "run-top" }, h("strong", { text: run.name }), at.stateChip(run.state)),
        h("span", { class: "run-model", text: run.model }),
        h("span", { class: "run-facts", text: facts.filter(Boolean).join(" \u00b7 ") }),
        LIVE.includes(run.state) ? h("span", { class: "bar", style: { "--part": `${percent}%` } }) : null));
  }
})();
