// Above the grid: what was recognised, filters with their counts, search, order, and what may be done.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h, icon } = at;
  const SEARCH_AFTER = 200; // milliseconds without a key
  const SIZES = { min: "96", max: "320", step: "8" };

  class DatasetHead {
    // view: the tab
    constructor(view, sorts) {
      this.view = view;
      const later = (act) => { let timer; return () => { clearTimeout(timer); timer = setTimeout(act, SEARCH_AFTER); }; };
      this.undo = at.iconButton(t("dataset.undo"), "undo", () => view.turnBack("undo"));
      this.redo = at.iconButton(t("dataset.redo"), "redo", () => view.turnBack("redo"));
      this.reload = at.iconButton(t("dataset.reload"), "refresh", () => view.ask.reload(view.id).then(() => view.polling.now()));
      this.train = at.button(t("dataset.train_on"), "train", () => view.trainOn(), "primary");
      this.train.id = "ds-train";
      this.further = this.adding("add_set", "dataset.add_to_run", "ds-add-to-run");
      this.regularisation = this.adding("add_regularisation", "dataset.add_regularisation", "ds-add-regularisation");
      this.undo.id = "ds-undo";
      this.redo.id = "ds-redo";
      this.found = h("span", { class: "ds-layout", role: "status" });
      this.bar = h("span", { class: "bar", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100", hidden: true });
      this.chips = h("div", { class: "ds-filters", role: "group", "aria-label": t("dataset.filters") });
      this.offered = h("datalist", { id: "ds-search-tags" });
      const offer = () => at.offerTags(this.offered, (limit) => view.allTags(limit), (tag) => (/\s/.test(tag) ? `tag:"${tag}"` : `tag:${tag}`));
      this.search = h("input", { id: "ds-search", type: "search", list: "ds-search-tags", onfocus: offer, placeholder: t("dataset.search"), title: t("dataset.search_hint"), "aria-label": t("dataset.search"), autocomplete: "off", spellcheck: "false", oninput: later(() => view.filter({ search: this.search.value.trim() })), onkeydown: (event) => event.key === "Escape" && view.grid.element.focus() });
      this.sort = h("select", { id: "ds-sort", "aria-label": t("dataset.sort"), onchange: () => view.filter({ sort: this.sort.value }) }, sorts.map((sort) => h("option", { value: sort, text: t(`dataset.sort.${sort}`) })));
      this.reverse = at.iconButton(t("dataset.reverse"), "sort", () => view.filter({ reverse: !view.query.reverse }));
      const side = at.load("dataset-side") ?? "168";
      this.side = h("input", { type: "range", ...SIZES, "aria-label": t("dataset.thumb_size"), title: t("dataset.thumb_size"), oninput: () => { view.grid.resize(Number(this.side.value)); at.save("dataset-side", this.side.value); } });
      this.side.value = side;
      view.grid.side = Number(side);
      this.count = h("span", { class: "ds-count", role: "status" });
      this.edit = at.button(t("dataset.edit"), "edit", () => view.edit());
      this.edit.id = "ds-edit";
      this.picked = h("b");
      this.selection = h("div", { class: "ds-selection", hidden: true }, this.picked, at.button(t("dataset.edit"), "edit", () => view.edit()), at.button(t("dataset.trash"), "delete", () => view.askTrash([...view.grid.selection]), "danger-quiet"), at.button(t("dataset.select_none"), null, () => view.grid.selectNone()));
      this.tags = at.button(t("dataset.tags"), "table", () => this.tags.setAttribute("aria-pressed", String(view.tags.toggle())));
      this.tags.id = "ds-tags";
      this.buckets = at.button(t("dataset.buckets"), "shapes", () => this.buckets.setAttribute("aria-pressed", String(view.buckets.toggle())));
      this.buckets.id = "ds-buckets";
      this.why = h("span");
      this.locked = h("div", { class: "ds-locked", hidden: true }, icon("lock"), this.why, at.button(t("dataset.copy_set"), "copy", () => view.sets.copy()));
      this.rest = h("div", { class: "ds-rest-head" },
        this.locked, h("div", { class: "ds-line" }, this.found, this.bar), this.chips,
        h("div", { class: "ds-tools" }, h("label", { class: "search" }, icon("search"), this.search), this.offered, this.sort, this.reverse, this.side, this.tags, this.buckets, h("span", { class: "grow" }), this.count, this.edit));
      this.element = h("header", { class: "ds-head" }, h("div", { class: "ds-top" }, view.sets.element, h("span", { class: "grow" }), h("span", { class: "actions" }, this.undo, this.redo, this.reload), h("span", { class: "actions ds-run" }, this.further, this.regularisation, this.train)), this.rest);
      this.rest.hidden = true;
      this.drawUndo();
      this.selected(0);
    }

    // A button that puts the set beside the run's pictures.
    adding(act, key, id) {
      const made = at.button(t(key), null, () => at.act(act, this.view.sets.current().path));
      return Object.assign(made, { id, title: t(`${key}_hint`) });
    }

    clear() {
      this.search.value = "";
      this.found.textContent = "";
      this.key = ""; // two sets may have the same counts
      this.chips.replaceChildren();
      this.selected(0);
    }

    // Everything again, whatever was asked for.
    all() {
      this.search.value = "";
      this.view.filter({ filter: "", search: "", tag: "" });
    }

    draw() {
      const { status, query, filters } = this.view;
      this.rest.hidden = !status;
      this.train.disabled = !status || !status.counts[""];
      this.drawRun();
      if (!status) return;
      if (document.activeElement !== this.search) this.search.value = query.search;
      this.sort.value = query.sort;
      this.reverse.setAttribute("aria-pressed", String(query.reverse));
      this.drawFound(status);
      this.locked.hidden = !status.locked;
      this.why.textContent = status.locked;
      this.edit.disabled = Boolean(status.locked);
      this.drawUndo();
      const chip = (filter) => h("button", { type: "button", class: "ds-filter", "aria-pressed": String(query.filter === filter), data: { filter }, onclick: () => this.view.filter({ filter: query.filter === filter ? "" : filter }) },
        h("span", { text: t(filter ? `filter.${filter}` : "filter.all") }), h("b", { text: String(status.counts[filter] ?? 0) }));
      const shown = filters.filter((filter) => status.counts[filter] || query.filter === filter);
      const key = JSON.stringify([query.filter, query.tag, status.counts]);
      if (key === this.key) return;
      this.key = key;
      const tag = query.tag ? h("button", { type: "button", class: "ds-filter", "aria-pressed": "true", onclick: () => this.view.filter({ tag: "" }) }, icon("table"), h("span", { text: query.tag }), h("b", { text: "\u00d7" })) : null;
      this.chips.replaceChildren(...["", ...shown].map(chip), ...(tag ? [tag] : []));
    }

    // What the run takes of this set already needs no button.
    drawRun() {
      const part = this.view.inRun();
      const empty = this.train.disabled || part === "main";
      this.further.disabled = empty || part === "further";
      this.regularisation.disabled = empty || part === "regularisation";
    }

    drawFound({ layout, ready, done, total, orphans, error }) {
      const concepts = layout.concepts > 1 || layout.kind === "kohya" ? `${at.some("dataset.concepts", layout.concepts)}, ` : "";
      const said = layout.kind ? [`${at.words[`dataset.layout.${layout.kind}`] ?? layout.kind}: ${concepts}${at.some("dataset.n_pictures", layout.pictures)}`] : [];
      const part = this.view.inRun();
      if (part) said.push(t({ main: "dataset.in_draft", further: "dataset.in_run", regularisation: "dataset.in_run_regularisation" }[part]));
      if (orphans.length) said.push(at.some("dataset.orphans", orphans.length).replace("{name}", orphans[0]));
      if (error) said.push(error);
      if (!ready) said.push(total ? t("dataset.reading", { done, total }) : t("dataset.looking"));
      this.found.textContent = said.join(" \u00b7 ");
      this.found.title = orphans.slice(0, 20).join("\n");
      this.bar.hidden = ready;
      this.bar.style.setProperty("--part", `${total ? (100 * done) / total : 0}%`);
    }

    drawUndo() {
      for (const name of ["undo", "redo"]) {
        const label = this.view.status?.[name] ?? "";
        this[name].disabled = !label;
        this[name].title = label ? `${t(`dataset.${name}`)}: ${at.editLabel(label)}` : t(`dataset.${name}`);
      }
      this.reload.disabled = !this.view.id;
    }

    shown() {
      const { grid, status } = this.view;
      const all = status?.counts[""] ?? 0;
      this.count.textContent = grid.total === all ? "" : t("dataset.shown", { n: grid.total, all });
    }

    selected(n) {
      this.selection.hidden = n < 2;
      this.picked.textContent = t("dataset.selected", { n });
    }
  }

  // Keys of the grid. They come from the grid itself, so none fires in a text field.
  at.datasetKeys = (view, event) => {
    const { grid } = view;
    if (event.isComposing || event.altKey) return;
    const command = event.ctrlKey || event.metaKey;
    const page = Math.max(1, Math.floor(grid.element.clientHeight / (grid.row || 1))) * grid.columns;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -grid.columns, ArrowDown: grid.columns, PageUp: -page, PageDown: page, Home: -Infinity, End: Infinity };
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (key in steps && !command) grid.step(steps[key], { range: event.shiftKey });
    else if (key === "Enter" || key === "F2") view.panel.edit();
    else if (key === "Delete" && grid.selection.size) view.askTrash([...grid.selection]);
    else if (command && key === "a") grid.selectAll();
    else if (command && (key === "y" || (key === "z" && event.shiftKey))) view.turnBack("redo");
    else if (command && key === "z") view.turnBack("undo");
    else if (key === "Escape") grid.selectNone();
    else if (key === " ") grid.step(0, { toggle: true });
    else return;
    event.preventDefault();
    event.stopPropagation();
  };

  at.DatasetHead = DatasetHead;
})();
