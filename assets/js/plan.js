// The beginner's widgets: thumbnails of the folder, cards of the models, and the plan of the run.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h, icon } = at;

  at.widgets.strip = ({ root, server }) => {
    let shown = null;
    const pictures = h("div");
    const sets = h("div", { class: "run-sets", role: "list", "aria-label": t("strip.sets"), hidden: true });
    root.append(pictures, sets);
    pictures.append(h("div", { class: "thumbs skeleton" }, Array.from({ length: 8 }, () => h("span", { class: "thumb" }))));
    at.on("form", async (form) => {
      sets.hidden = !form.sets.length;
      sets.replaceChildren(...form.sets.map(runSet));
      const key = `${form.folder}|${form.plan?.pictures}|${form.sets.map(({ line }) => line)}`;
      if (key === shown) return;
      shown = key;
      const answer = await server.pictures(0);
      if (!answer || key !== shown) return;
      draw(pictures, answer);
    });
  };

  // A further data set of the run, which can be taken out again.
  function runSet({ line, name, folder, pictures, repeats, weight, regularisation }) {
    const facts = [
      pictures === null ? "" : at.some("strip.n_pictures", pictures),
      repeats ? t("strip.repeats", { n: repeats }) : "",
      weight === 1 ? "" : t("strip.weight", { n: weight }),
    ].filter(Boolean).join(", ");
    const role = regularisation ? h("span", { class: "run-set-role", text: t("strip.regularisation") }) : null;
    return h("div", { class: "run-set", role: "listitem", title: folder }, icon("plus"), h("b", { text: name }), role, h("span", { class: "run-set-facts", text: facts }), h("button", { type: "button", class: "run-set-remove", title: t("strip.remove", { name }), "aria-label": t("strip.remove", { name }), text: "\u00d7", onclick: () => at.act("remove_set", line) }));
  }

  function draw(root, answer) {
    const more = answer.total - answer.thumbs.length;
    const thumbs = answer.thumbs.map((source) => h("img", { class: "thumb", src: source, alt: "" }));
    if (more > 0) thumbs.push(h("span", { class: "thumb more", text: `+${more}` }));
    root.replaceChildren(
      answer.total
        ? h("div", { class: "thumbs" }, thumbs)
        : h("div", { class: "thumbs none" }, icon("pictures"), h("span", { text: t("strip.none") })),
      h("p", { class: "found", text: answer.total ? t("strip.found", { n: answer.total }) : "" }),
    );
  }

  at.widgets.models = ({ root, props }) => {
    const cards = h("div", { class: "cards", role: "radiogroup", "aria-label": t("models.label") });
    root.append(cards);
    at.on("form", (form) => {
      const models = [...props.value];
      if (!models.some((model) => model.name === form.base)) models.push({ name: form.base, title: form.base.split(/[\\/]/).filter(Boolean).slice(-1)[0], note: t("models.own"), licence: "", size: "", fit: "" });
      cards.replaceChildren(...models.map((model) => card(model, model.name === form.base)));
    });
  };

  function card(model, chosen) {
    const place = model.on_disk === undefined ? "" : t(model.on_disk ? "models.on_disk" : "models.download", { size: model.size });
    const facts = [
      place ? h("span", { class: "fact" }, icon(model.on_disk ? "ok" : "download"), h("span", { text: place })) : null,
      model.fit ? h("span", { class: `fact fit-${model.fit}` }, icon({ yes: "ok", tight: "warning", no: "problem" }[model.fit]), h("span", { text: t(`models.fit_${model.fit}`) })) : null,
      model.gated ? h("span", { class: "fact" }, icon("lock"), h("span", { text: t("models.gated") })) : null,
    ];
    return h(
      "button",
      { type: "button", class: "card", role: "radio", "aria-checked": String(chosen), data: { model: model.name }, onclick: () => chosen || at.act("model", model.name) },
      h("span", { class: "card-title", title: model.name }, h("i", { class: "radio" }), h("strong", { text: model.title })),
      h("span", { class: "card-note", text: model.note }),
      h("span", { class: "facts" }, facts, model.licence ? h("span", { class: "fact licence", text: model.licence }) : null),
    );
  }

  at.widgets.plan = ({ root }) => {
    root.append(h("section", { class: "plan skeleton" }, h("h2", { text: t("plan.title") })));
    at.on("form", (form) => root.replaceChildren(plan(form)));
  };

  function plan(form) {
    const facts = form.plan;
    const problems = form.findings.filter((finding) => finding.level === "problem").length + Object.keys(form.errors).length;
    return h(
      "section",
      { class: "plan", "data-problems": String(problems) },
      h("h2", { text: t("plan.title") }),
      facts ? numbers(facts) : h("p", { class: "muted", text: t("plan.unknown") }),
      facts ? memory(facts) : null,
      facts ? h("p", { class: "result" }, icon("file"), h("span", {}, h("strong", { text: facts.file }), h("br"), h("span", { class: "muted", text: t(facts.prompts ? "plan.result" : "plan.result_no_previews", { n: facts.prompts }) }))) : null,
      checks(form),
      h("p", { class: "line", id: "plan-line", text: form.line }),
    );
  }

  function numbers(facts) {
    const cell = (value, label, title) => h("div", { title }, h("b", { text: value }), h("span", { text: label }));
    return h(
      "div",
      { class: "numbers" },
      cell(String(facts.steps), t("plan.steps"), t("plan.rounds", { n: facts.epochs })),
      cell(at.time(facts.seconds), t(facts.measured ? "plan.time_measured" : "plan.time")),
      cell(at.gb(facts.disk_gib), t("plan.disk")),
    );
  }

  function memory(facts) {
    const part = (100 * facts.memory_gib) / facts.total_gib;
    const kind = part > 100 ? "danger" : part > 85 ? "warning" : "";
    return h(
      "div",
      { class: "memory" },
      h("div", { class: "memory-line" }, h("span", { text: t("plan.memory") }), h("b", { text: t("plan.of", { used: facts.memory_gib.toFixed(1), total: facts.total_gib.toFixed(1) }) })),
      h("div", { class: `bar ${kind}`, style: { "--part": `${Math.min(100, part)}%` }, role: "img", "aria-label": t("plan.memory") }),
      h("span", { class: "muted device", text: facts.device }),
    );
  }

  function checks(form) {
    const about = new Set(form.findings.map((finding) => finding.field));
    const errors = Object.entries(form.errors).filter(([path]) => !about.has(path)).map(([path, message]) => ({ level: "problem", message, field: path }));
    const order = { problem: 0, warning: 1, ok: 2 };
    const lines = [...errors, ...form.findings].sort((a, b) => order[a.level] - order[b.level]);
    return h("ul", { class: "checks" }, lines.map((finding) => h(
      "li",
      { class: finding.level },
      icon(finding.level),
      h("div", {},
        h("span", { class: "visually-hidden", text: t(`plan.${finding.level}`) }),
        h("span", { text: at.sentence(finding.message) }),
        finding.hint ? h("span", { class: "hint", text: finding.hint }) : null,
        finding.fix ? h("div", { class: "actions" }, fix(finding.fix, form), finding.fix.filter === "no_caption" ? captionForMe(form) : null) : null),
    )));
  }

  function captionForMe(form) {
    return at.button(t("plan.caption_for_me"), "caption", () => {
      at.emit("captions", { folder: form.folder, existing: "fill" });
      at.go("captions");
    }, "small");
  }

  function fix({ label, act, filter }, form) {
    if (act) return at.button(label, null, () => at.act("fix", act), "small");
    return at.button(label, null, () => {
      at.emit("dataset", { filter, folder: form.folder });
      at.go("dataset");
    }, "small");
  }
})();
