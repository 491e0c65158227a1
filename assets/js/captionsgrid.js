// The pictures of the set with their captions, which fill while a job goes on: the grid of data sets, and on each picture
// what the job did with it.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h, icon } = at;
  const OPENED = Date.now(); // in addresses whose version is not known: browsers keep pictures for a year
  const ICONS = { written: "edit", skipped: "right", failed: "problem" };

  class CaptionGrid extends at.DatasetGrid {
    // of(pid): item of the job, or nothing; fresh: captions of this moment, by picture
    constructor({ of, fresh, ...rest }) {
      super(rest);
      Object.assign(this, { of, fresh });
      this.element.addEventListener("keydown", (event) => this.press(event));
    }

    fill(cell, record, index) {
      super.fill(cell, record, index);
      if (!record) return;
      cell.marks.replaceChildren(); // notes on pictures are a matter of the tab of data sets
      const [pid, name, width] = record;
      const [, , status = "", , , reason = ""] = this.of(pid) ?? [];
      const failed = status === "failed";
      const caption = failed ? at.sentence(reason) : this.fresh.get(pid) ?? record[4];
      cell.id = `cp-${pid}`;
      if (!width) cell.title = name;
      const text = caption || t("dataset.no_caption");
      if (cell.caption.textContent !== text) cell.caption.textContent = text;
      cell.caption.classList.toggle("none", !caption);
      cell.caption.classList.toggle("failed", failed);
      cell.badge ??= cell.firstElementChild.appendChild(h("span", { class: "cp-badge" }));
      if (cell.badge.dataset.status === status) return;
      cell.badge.dataset.status = status;
      cell.badge.hidden = !status;
      cell.badge.replaceChildren(...(status ? [icon(ICONS[status]), h("span", { text: t(`captioning.${status}`) })] : []));
    }

    async go(index, options) {
      await super.go(index, options);
      if (this.pid) this.element.setAttribute("aria-activedescendant", `cp-${this.pid}`);
    }

    press(event) {
      if (event.isComposing || event.altKey || event.ctrlKey || event.metaKey) return;
      const page = Math.max(1, Math.floor(this.element.clientHeight / (this.row || 1))) * this.columns;
      const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns, PageUp: -page, PageDown: page, Home: -Infinity, End: Infinity };
      if (event.key in steps) this.step(steps[event.key], { range: event.shiftKey });
      else if (event.key === "Enter") at.emit("captions-edit");
      else if (event.key === "Escape") this.selectNone();
      else return;
      event.preventDefault();
      event.stopPropagation();
    }
  }

  // Filters by what the job did, order, grid and panel.
  class CaptionView {
    // ask, set(): as for the panel; unreadable(): ids of pictures that have no thumbnail; job: of the set; captioners(name): title; selected(n): pictures are chosen;
    // saved(): a caption was written by hand
    constructor({ ask, set, unreadable, job, title, selected, saved }) {
      Object.assign(this, { ask, set, unreadable, job, filter: "", isNewest: false, fresh: new Map() });
      this.chips = h("div", { class: "ds-filters", role: "group", "aria-label": t("dataset.filters") });
      this.newest = at.button(t("captioning.newest"), "sort", () => this.turn());
      this.newest.id = "cp-newest";
      this.grid = new CaptionGrid({ of: (pid) => job.of(pid), fresh: this.fresh, fetch: (first, count) => this.fetch(first, count), chosen: (pid) => this.panel.open(pid), selected: () => selected(this.chosen().length) });
      const saving = (key, { item, rev }) => {
        if (!key.startsWith(`${set()}/`)) return;
        this.fresh.delete(item[0]);
        this.grid.put(item, this.isOfJob() ? this.grid.rev : rev);
        saved();
      };
      this.panel = new at.CaptionPanel({ ask, set, job, title, moves: { step: (by) => this.grid.step(by), pick: (pid) => this.pick(pid) }, saved: saving });
      this.main = h("div", { class: "ds-main cp-main" }, h("div", { class: "ds-middle" }, this.grid.element), this.panel.element);
      this.element = h("section", { class: "cp-view", "aria-label": t("captioning.pictures"), hidden: true }, h("div", { class: "cp-view-head" }, h("h2", { text: t("captioning.pictures") }), this.chips, h("span", { class: "grow" }), this.newest), this.main);
    }

    isOfJob() {
      return Boolean(this.filter || this.isNewest);
    }

    // Records in the form that the gallery gives them, of the gallery or of the job.
    async fetch(first, count) {
      const set = this.set();
      if (!set) return { rev: 0, total: 0, items: [] };
      if (!this.isOfJob()) return this.ask.pictures([set, {}, first, count]);
      const items = this.job.newest(this.filter);
      const bad = this.unreadable();
      const record = ([pid, name, , before, after]) => [pid, name, 0, 0, after ?? before ?? "", 1, [], bad.has(pid) ? "" : `/thumb/data/${set}/${pid}?v=${OPENED}`, 0];
      return { rev: items.length, total: items.length, items: items.slice(first, first + count).map(record) };
    }

    // Pictures that a person chose, in the order of the choice; at most three can be tried.
    chosen() {
      return [...this.grid.selection].slice(0, 3);
    }

    async open(set) {
      this.fresh.clear();
      Object.assign(this, { filter: "", isNewest: false });
      this.element.hidden = !set;
      this.grid.clear();
      this.panel.open(null);
      this.drawHead();
      await this.grid.reload();
    }

    // What the job dealt with. fresh: just now; the grid shows that at once, what is read from the set comes after it.
    news(items, fresh) {
      if (!items.length) return this.grid.draw();
      for (const [pid, , status, , after] of items) if (fresh && status === "written") this.fresh.set(pid, after);
      if (this.isOfJob()) this.grid.reload(true);
      else this.grid.draw();
      if (items.some(([pid]) => pid === this.panel.pid)) this.panel.look();
    }

    // The list as it is now.
    async refresh() {
      await this.grid.reload(true);
      this.panel.look();
    }

    // A job has ended, or was taken back: the captions are those on disk.
    async settle() {
      this.fresh.clear();
      await this.refresh();
    }

    drawHead() {
      const counts = this.job.answer && !this.job.answer.undone ? this.job.answer : null;
      const key = JSON.stringify([this.filter, this.isNewest, counts && [counts.written, counts.skipped, counts.failed]]);
      if (key === this.key) return;
      this.key = key;
      if (!counts && this.isOfJob()) {
        Object.assign(this, { filter: "", isNewest: false });
        this.grid.reload();
      }
      const shown = (name) => this.job.newest(name).length; // skipped ones are counted, and only told of when there is a reason
      const names = ["written", "skipped", "failed"].filter((name) => (counts && shown(name)) || this.filter === name);
      const chip = (filter) => h("button", { type: "button", class: "ds-filter", "aria-pressed": String(this.filter === filter), data: { status: filter || "all" }, onclick: () => this.narrow(this.filter === filter ? "" : filter) },
        h("span", { text: t(filter ? `captioning.${filter}` : "filter.all") }), filter ? h("b", { text: String(shown(filter)) }) : null);
      this.chips.replaceChildren(...(names.length ? ["", ...names].map(chip) : []));
      this.newest.hidden = !names.length;
      this.newest.setAttribute("aria-pressed", String(this.isNewest));
    }

    narrow(filter) {
      this.filter = filter;
      this.again();
    }

    turn() {
      this.isNewest = !this.isNewest;
      this.again();
    }

    again() {
      this.grid.selectNone();
      this.drawHead();
      this.grid.reload();
    }

    pick(pid) {
      const index = this.grid.indexOf(pid);
      return index >= 0 ? this.grid.go(index) : this.panel.open(pid);
    }
  }

  at.CaptionGrid = CaptionGrid;
  at.CaptionView = CaptionView;
})();
