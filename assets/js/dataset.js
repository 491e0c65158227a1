// The tab of data sets: puts choice, filters, grid, panel and bulk edits together.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h, icon } = at;

  at.widgets.dataset = ({ root, props, server }) => {
    const view = new Dataset(root, props.value, server);
    at.on("dataset", (wish) => view.wish(wish));
    at.on("dataset-edit", () => view.panel.edit());
    at.on("dataset-grid", () => view.grid.element.focus());
    at.on("dataset-look", () => view.panel.look());
    at.on("tab", (tab) => tab === "dataset" && view.polling.now());
    at.on("form", (form) => view.followForm(form));
  };

  // What only shows something comes as nothing when it cannot be had; acts say why.
  function answering(server) {
    const quiet = (name) => async (request) => {
      const answer = await server[name](request);
      return answer?.error ? null : answer;
    };
    return new Proxy(server, { get: (_, name) => (["pictures", "detail", "tags", "histogram"].includes(name) ? quiet(name) : server[name]) });
  }

  // A number of things: the text has a form of its own for one.
  at.some = (key, n) => t(n === 1 ? `${key}_1` : key, { n });

  class Dataset {
    constructor(root, { filters, sorts, limits }, server) {
      Object.assign(this, { root, ask: answering(server), filters, id: "", status: null, query: { filter: "", search: "", tag: "", sort: "name", reverse: false }, rev: null });
      this.sets = new at.DatasetSets({ ask: this.ask, opened: (id) => this.open(id), zone: (options) => new at.DropZone({ limits, ...options }) });
      this.grid = new at.DatasetGrid({ fetch: (first, count) => this.id ? this.ask.pictures([this.id, this.query, first, count]) : null, chosen: (pid) => this.panel.open(pid), selected: (n) => this.head.selected(n) });
      this.panel = new at.DatasetPanel({ ask: this.ask, set: () => this.id, moves: { step: (by) => this.grid.step(by), trash: (pids) => this.askTrash(pids), pick: (pid) => this.pick(pid) }, saved: (key, answer) => this.saved(key, answer) });
      this.tags = new at.DatasetTags({ ask: (limit) => this.id ? this.ask.tags([this.id, { ...this.query, tag: "" }, limit]) : [], pick: (tag) => this.filter({ tag }), edit: (begin) => this.edit(begin) });
      this.buckets = new at.DatasetBuckets(() => (this.id ? this.ask.histogram(this.id) : []));
      this.head = new at.DatasetHead(this, sorts);
      this.bad = h("div", { class: "ds-bad", hidden: true });
      this.none = h("div", { class: "empty ds-none", hidden: true });
      this.main = h("div", { class: "ds-main" }, this.tags.element, h("div", { class: "ds-middle" }, this.grid.element, this.bad, this.none, this.head.selection), this.panel.element);
      root.append(this.head.element, this.buckets.element, this.main);
      const fit = new ResizeObserver(() => this.main.style.setProperty("--above", `${this.main.offsetTop - this.root.offsetTop}px`));
      for (const above of [this.head.element, this.buckets.element]) fit.observe(above);
      this.grid.element.addEventListener("keydown", (event) => at.datasetKeys(this, event));
      this.takeDrops();
      this.sets.look();
      this.polling = at.poller(root, 3000, () => this.poll());
    }

    // Sizes, crops and token limits follow the draft, and which sets there are.
    followForm({ folder, sets }) {
      this.panel.look();
      const run = JSON.stringify([folder, sets.map(({ line }) => line)]);
      this.further = sets;
      if (run !== this.run) this.sets.look().then(() => this.head.draw());
      this.run = run;
    }

    // The part that the open set plays in the draft's run: "main", "further", "regularisation" or "".
    inRun() {
      if (this.id && this.id === this.sets.draft) return "main";
      const found = (this.further ?? []).find(({ folder }) => folder === this.sets.current()?.path);
      return found ? (found.regularisation ? "regularisation" : "further") : "";
    }

    // A wish of another tab: {set} by its id, or {filter, folder}, where the folder is the draft's.
    async wish({ filter = "", folder = "", set = "" }) {
      if (set) await this.sets.look(set);
      const answer = await this.ask.sets(0);
      if (folder && answer?.draft) await this.sets.look(answer.draft);
      if (this.filters.includes(filter)) this.filter({ filter, search: "", tag: "" });
    }

    async open(id) {
      this.panel.editor.flush();
      await this.panel.editor.queue;
      Object.assign(this, { id, status: null, rev: null });
      this.toast?.remove(); // its Undo was about another set
      Object.assign(this.query, { filter: "", search: "", tag: "" });
      this.head.clear();
      this.tags.chosen = "";
      this.grid.clear();
      this.panel.open(null);
      await this.poll();
      this.polling.now(); // the next question was due when the last set wanted it
    }

    // The state of the set; what changed since is read again. Returns the milliseconds until the next question.
    async poll() {
      const { id } = this;
      if (!id) return void this.drawNone();
      const status = await this.ask.open(id);
      if (!status || id !== this.id) return 2000;
      if (!status.counts) return this.gone(status.error);
      this.status = status;
      this.head.draw();
      if (status.ready) this.sets.count(id, status.counts[""]);
      if (status.rev !== this.rev) {
        this.rev = status.rev;
        await this.refresh();
      }
      this.drawNone();
      return status.ready ? 3000 : this.grid.total ? 400 : 100;
    }

    // The folder went away, or is no set any more.
    async gone(error) {
      at.toast(error, "danger");
      this.sets.id = this.id = "";
      await this.sets.look();
      return 2000;
    }

    // The list as it is now, where one is.
    async refresh() {
      if (!(await this.grid.reload(true))) this.rev = null; // an answer that never came is asked for again
      this.head.shown();
      this.tags.look();
      this.buckets.look();
      this.drawBad();
    }

    async filter(changes) {
      Object.assign(this.query, changes);
      if (changes.tag === "") this.tags.chosen = "";
      this.grid.selectNone(); // nobody should delete what is out of sight
      this.head.draw();
      this.drawBad();
      await this.grid.reload();
      this.head.shown();
      this.tags.look();
      this.drawNone();
    }

    saved(key, { item, rev, undo, redo }) {
      if (!key.startsWith(`${this.id}/`)) return;
      this.grid.put(item, rev);
      Object.assign(this.status, { undo, redo });
      this.toast?.remove(); // Undo is about this caption now
      this.head.drawUndo();
      this.polling.now();
    }

    drawNone() {
      const empty = (!this.id && this.sets.known) || (this.status?.ready && !this.status.counts[""] && !this.status.bad.length);
      const missed = !empty && this.id && this.status?.ready && !this.grid.total && this.query.filter !== "bad";
      this.none.hidden = !empty && !missed;
      this.grid.element.hidden = !this.none.hidden || !this.bad.hidden;
      if (empty) this.none.replaceChildren(icon("pictures"), h("p", { text: t(this.id ? "dataset.empty_set" : "dataset.no_sets") }), at.button(t(this.id ? "dataset.fill" : "dataset.new"), "upload", () => (this.id ? this.sets.drop(this.sets.current()) : this.sets.make()), "primary"));
      else if (missed) this.none.replaceChildren(icon("search"), h("p", { text: t("dataset.no_hits") }), at.button(t("dataset.show_all"), null, () => this.head.all()));
    }

    // Files that cannot be read have no picture to show: a list of names and causes takes the place of the grid, with
    // captions and masks of no picture below.
    drawBad() {
      const { bad, orphans } = (this.query.filter === "bad" && this.status) || { bad: [], orphans: [] };
      this.bad.hidden = !bad.length && !orphans.length;
      this.grid.element.hidden = !this.bad.hidden;
      if (this.bad.hidden) return;
      const away = (ones) => this.askTrash(ones.map(({ pid }) => pid).filter(Boolean)); // a folder has no id
      const part = (key, ones, button, rows) => ones.length ? [h("div", { class: "ds-section-head" }, h("h3", { text: at.some(key, ones.length) }), h("span", { class: "grow" }), button), ...rows] : [];
      this.bad.replaceChildren(
        ...part("dataset.bad_title", bad, at.button(t("dataset.trash_all"), "delete", () => away(bad), "danger-quiet"),
          bad.map((one) => h("div", { class: "ds-bad-row" }, icon("problem"), h("span", {}, h("strong", { text: one.name }), h("span", { text: at.sentence(one.reason) })), one.pid ? at.button(t("dataset.trash"), "delete", () => away([one]), "danger-quiet") : null))),
        ...part("dataset.orphans_title", orphans, null,
          orphans.map((name) => h("div", { class: "ds-bad-row" }, icon("warning"), h("span", {}, h("strong", { text: name }))))));
    }

    // ---------------------------------------------------------------- acts
    // A picture by its id; one that the list does not show is opened all the same.
    pick(pid) {
      const index = this.grid.indexOf(pid);
      return index >= 0 ? this.grid.go(index) : this.panel.open(pid);
    }

    allTags(limit) {
      return this.id ? this.ask.tags([this.id, {}, limit]) : [];
    }

    // Of pictures that came with the program: why nothing can be done.
    isLocked() {
      if (this.status?.locked) at.toast(this.status.locked);
      return Boolean(this.status?.locked);
    }

    async edit(begin = {}) {
      if (this.isLocked()) return;
      this.panel.editor.flush();
      await this.panel.editor.queue;
      const picked = [...this.grid.selection];
      const narrowed = this.query.filter || this.query.search || this.query.tag;
      const scopes = [
        picked.length > 1 ? ["selected", picked.length, { pids: picked }] : null,
        narrowed ? ["shown", this.grid.total, { query: { ...this.query } }] : null,
        ["all", this.status?.counts[""] ?? 0, { query: {} }],
      ].filter(Boolean);
      at.bulkEdit({ begin, scopes, trigger: this.status?.trigger ?? "", tags: (limit) => this.allTags(limit), preview: (operation, scope) => this.ask.preview_edit([this.id, operation, scope]), apply: (operation, scope) => this.ask.apply_edit([this.id, operation, scope]), done: (answer) => this.acted(answer, "done") });
    }

    askTrash(pids) {
      if (this.isLocked()) return;
      at.dialog(t("dataset.trash_title", { what: at.some("dataset.n_pictures", pids.length) }), h("p", { text: t("dataset.trash_note") }), [[t("common.cancel"), ""], [t("dataset.trash"), "danger", async () => {
        const answer = await this.ask.trash([this.id, pids]);
        if (answer?.done) this.grid.selectNone();
        await this.acted(answer, "done");
        this.grid.element.focus();
      }]]);
    }

    async turnBack(name) {
      this.panel.editor.flush();
      await this.panel.editor.queue;
      await this.acted(await this.ask[`${name}_edit`](this.id), name);
    }

    // After any act: what it did, what could not be done and why, and a way back that stays.
    async acted(answer, name) {
      if (!answer || answer.error) return void at.toast(answer?.error ?? t("common.no_answer"), "danger");
      this.toast?.remove();
      const said = t(`dataset.did_${name}`, { what: at.editLabel(answer.label), files: at.some("dataset.files", answer.done) });
      const left = answer.skipped.length ? ` ${t("dataset.skipped", { n: answer.skipped.length, name: answer.skipped[0][0], reason: answer.skipped[0][1] })}` : "";
      const action = name === "undo" ? (answer.redo ? [t("dataset.redo"), () => this.turnBack("redo")] : null) : [t("dataset.undo"), () => this.turnBack("undo")];
      this.toast = at.toast(said + left, left ? "danger" : "", answer.done ? action : null);
      await this.poll();
      this.panel.look();
    }

    async trainOn() {
      this.panel.editor.flush();
      await this.panel.editor.queue;
      const answer = await this.ask.train_on(this.id);
      if (!answer) return at.toast(t("common.no_answer"), "danger");
      at.act("look", ""); // both forms follow
      this.sets.look();
      at.go("train");
    }

    // Files may be let go anywhere over the grid.
    takeDrops() {
      const over = (on) => this.main.toggleAttribute("data-over", on);
      this.main.addEventListener("dragover", (event) => {
        if (!event.dataTransfer.types.includes("Files")) return;
        event.preventDefault();
        over(true);
      });
      this.main.addEventListener("dragleave", (event) => event.relatedTarget && this.main.contains(event.relatedTarget) || over(false));
      this.main.addEventListener("drop", async (event) => {
        over(false);
        if (!event.dataTransfer.types.includes("Files")) return;
        event.preventDefault();
        const files = await at.droppedFiles(event.dataTransfer);
        const set = this.sets.current();
        if (this.isLocked()) return;
        (set ? this.sets.drop(set) : this.sets.drop(null, null, async () => ({ id: "" }))).take(files);
      });
    }
  }
})();
