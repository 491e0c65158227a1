// The grid of a data set: thousands of pictures, of which only those in sight are in the page.
// Pages of records are fetched ahead; a selection holds ids of pictures, so it outlives sorting and filtering.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h, icon } = at;
  const PAGE = 120; // records a question
  const MANY = 500; // the most that a question may be about
  const GAP = 10;
  const CAPTION = 54; // height of the text under a picture
  const AHEAD = 2; // rows kept above and below those in sight
  const FLAG_ICONS = { no_caption: "edit", bad: "problem", duplicate: "copy", near_duplicate: "copy" }; // others warn

  class DatasetGrid {
    // fetch(first, count): {rev, total, items}; chosen(pid or null): the current picture changed; selected(count)
    constructor({ fetch, chosen, selected }) {
      Object.assign(this, { fetch, chosen, selected, side: 168, columns: 1, total: 0, rev: null, pages: new Map(), asked: new Map(), cells: new Map(), spare: [], selection: new Set(), current: -1, anchor: -1, pid: null, turn: 0 });
      this.ground = h("div", { class: "ds-ground" });
      this.element = h("div", { class: "ds-grid", tabindex: "0", role: "listbox", "aria-multiselectable": "true", "aria-label": t("dataset.grid") }, this.ground);
      this.element.addEventListener("scroll", () => this.plan(), { passive: true });
      this.element.addEventListener("mousedown", (event) => event.shiftKey && event.preventDefault()); // no text is marked
      this.element.addEventListener("click", (event) => this.click(event));
      this.element.addEventListener("dblclick", (event) => event.target.closest(".ds-cell") && at.emit("dataset-edit"));
      new ResizeObserver(() => this.layout()).observe(this.element);
    }

    // ---------------------------------------------------------------- records
    item(index) {
      return this.pages.get(Math.floor(index / PAGE))?.[index % PAGE] ?? null;
    }

    // Another list: from the top. keep: the same list, read again where one is. Resolves to true when it is drawn.
    async reload(keep = false) {
      const turn = ++this.turn;
      this.asked.clear();
      if (!keep) Object.assign(this.element, { scrollTop: 0 });
      const [from, to] = keep ? this.range() : [0, 1];
      const wanted = new Set(keep && this.current >= 0 ? [Math.floor(this.current / PAGE)] : []);
      for (let page = Math.floor(from / PAGE); page <= Math.floor(Math.max(from, to - 1) / PAGE); page++) wanted.add(page);
      const answers = await Promise.all([...wanted].map((page) => this.fetch(page * PAGE, PAGE)));
      if (turn !== this.turn || answers.some((answer) => !answer)) return false;
      this.pages.clear();
      [...wanted].forEach((page, n) => this.take(page, answers[n]));
      if (!keep) Object.assign(this, { current: -1, anchor: -1 });
      this.find();
      this.layout();
      return true;
    }

    clear() {
      this.turn++;
      this.pages.clear();
      this.asked.clear();
      this.selection.clear();
      Object.assign(this, { total: 0, rev: null, current: -1, anchor: -1, pid: null });
      this.selected(0);
      this.layout();
    }

    take(page, answer) {
      this.rev = answer.rev;
      this.total = answer.total;
      this.pages.set(page, answer.items);
    }

    async load(page) {
      if (this.pages.has(page) || this.asked.has(page)) return this.asked.get(page);
      const turn = this.turn;
      const asking = (async () => {
        const answer = await this.fetch(page * PAGE, PAGE);
        if (turn !== this.turn) return;
        this.asked.delete(page);
        if (!answer) return;
        // the list has moved since the other pages were read, as after a caption that leaves the filter
        if (this.rev !== null && answer.rev !== this.rev) return void this.reload(true);
        this.take(page, answer);
        this.layout();
      })();
      this.asked.set(page, asking);
      return asking;
    }

    // A record that was saved: shown at once, and the list stays as it is until it is read again.
    put(item, rev) {
      for (const records of this.pages.values()) {
        const index = records.findIndex(([pid]) => pid === item[0]);
        if (index >= 0) records[index] = item;
      }
      this.rev = rev;
      this.draw();
    }

    // Where a picture stands in what was read; -1 for elsewhere.
    indexOf(pid) {
      for (const [page, records] of this.pages) {
        const index = records.findIndex(([other]) => other === pid);
        if (index >= 0) return page * PAGE + index;
      }
      return -1;
    }

    // After the list was read again the current picture may stand elsewhere, or nowhere: the next one took its place.
    find() {
      const index = this.pid ? this.indexOf(this.pid) : -1;
      this.gone = Boolean(this.pid) && index < 0;
      this.current = index >= 0 ? index : Math.min(this.current, this.total - 1);
    }

    // ---------------------------------------------------------------- layout
    layout() {
      const width = this.element.clientWidth - 2 * GAP;
      if (width <= 0) return;
      const columns = Math.max(2, Math.round((width + GAP) / (this.side + GAP)));
      const cell = Math.floor((width - GAP * (columns - 1)) / columns);
      if (columns !== this.columns || cell !== this.cell) {
        for (const old of this.cells.values()) this.free(old);
        this.cells.clear();
      }
      Object.assign(this, { columns, cell, row: cell + CAPTION + GAP });
      this.ground.style.height = `${Math.ceil(this.total / columns) * this.row + GAP}px`;
      this.draw();
    }

    range() {
      if (!this.row) return [0, 0];
      const top = this.element.scrollTop;
      const first = Math.max(0, Math.floor(top / this.row) - AHEAD);
      const last = Math.ceil((top + this.element.clientHeight) / this.row) + AHEAD;
      return [first * this.columns, Math.min(this.total, last * this.columns)];
    }

    plan() {
      this.planned ||= requestAnimationFrame(() => { this.planned = 0; this.draw(); });
    }

    draw() {
      const [from, to] = this.range();
      for (const [index, cell] of this.cells) {
        if (index >= from && index < to) continue;
        this.free(cell);
        this.cells.delete(index);
      }
      for (let index = from; index < to; index++) {
        const cell = this.cells.get(index) ?? this.place(index);
        this.fill(cell, this.item(index), index);
      }
      this.ground.dataset.total = String(this.total);
      this.ask(from, to);
    }

    // What is in sight at once; while the wheel turns fast, only where it comes to rest.
    ask(from, to) {
      clearTimeout(this.later);
      this.later = setTimeout(() => {
        if (!this.total) return;
        const last = Math.floor((this.total - 1) / PAGE);
        const first = Math.floor(from / PAGE);
        for (let page = first; page <= Math.min(last, Math.floor(Math.max(from, to - 1) / PAGE) + 1); page++) this.load(page);
      }, this.item(from) && this.item(to - 1) ? 0 : 60);
    }

    place(index) {
      const cell = this.spare.pop() ?? this.make();
      cell.style.width = `${this.cell}px`;
      cell.style.height = `${this.cell + CAPTION}px`;
      cell.style.transform = `translate(${GAP + (index % this.columns) * (this.cell + GAP)}px, ${GAP + Math.floor(index / this.columns) * this.row}px)`;
      cell.dataset.index = String(index);
      this.cells.set(index, cell);
      if (cell.parentNode !== this.ground) this.ground.append(cell);
      return cell;
    }

    free(cell) {
      cell.remove();
      cell.picture.removeAttribute("src"); // else the old picture stands there until the next one has come
      cell.record = undefined;
      if (this.spare.length < 60) this.spare.push(cell);
    }

    make() {
      const cell = h("div", { class: "ds-cell", role: "option" });
      cell.picture = h("img", { alt: "", decoding: "async", draggable: "false" });
      cell.picture.addEventListener("error", () => cell.classList.add("no-thumb"));
      cell.marks = h("span", { class: "ds-marks" });
      cell.caption = h("span", { class: "ds-caption" });
      cell.append(h("span", { class: "ds-thumb" }, cell.picture, cell.marks, h("i", { class: "ds-tick" }, icon("ok"))), cell.caption);
      return cell;
    }

    fill(cell, record, index) {
      const pid = record?.[0];
      cell.setAttribute("aria-selected", String(this.selection.has(pid)));
      cell.toggleAttribute("data-current", index === this.current && !this.gone);
      if (cell.record === record) return;
      cell.record = record;
      cell.classList.toggle("skeleton", !record);
      cell.classList.remove("no-thumb");
      if (!record) {
        cell.picture.removeAttribute("src");
        cell.caption.textContent = "";
        return cell.marks.replaceChildren();
      }
      const [, name, width, height, caption, lines, flags, thumb] = record;
      cell.id = `ds-${pid}`;
      cell.title = `${name}\n${width} \u00d7 ${height}${lines > 1 ? `\n${t("dataset.lines", { n: lines })}` : ""}`;
      if (cell.picture.getAttribute("src") !== thumb) cell.picture.src = thumb;
      cell.caption.textContent = caption || t("dataset.no_caption");
      cell.caption.classList.toggle("none", !caption);
      cell.marks.replaceChildren(...marks(flags));
    }

    // ---------------------------------------------------------------- choosing
    click(event) {
      const cell = event.target.closest(".ds-cell");
      if (!cell?.record) return;
      this.element.focus({ preventScroll: true });
      const tick = event.target.closest(".ds-tick");
      this.go(Number(cell.dataset.index), { range: event.shiftKey, toggle: event.ctrlKey || event.metaKey || Boolean(tick) });
    }

    // Makes a picture the current one. range: select all from the last one clicked; toggle: add or take away.
    async go(index, { range = false, toggle = false } = {}) {
      if (index < 0 || index >= this.total) return;
      await this.load(Math.floor(index / PAGE));
      const record = this.item(index);
      if (!record) return;
      if (range) await this.selectRange(this.anchor < 0 ? index : this.anchor, index);
      else {
        if (!toggle) this.selection.clear();
        if (toggle && this.selection.has(record[0])) this.selection.delete(record[0]);
        else this.selection.add(record[0]);
        this.anchor = index;
      }
      this.gone = false;
      this.current = index;
      this.element.setAttribute("aria-activedescendant", `ds-${record[0]}`);
      this.show(index);
      this.draw();
      this.selected(this.selection.size);
      if (this.pid === record[0]) return;
      this.pid = record[0];
      this.chosen(record[0]);
    }

    // The picture beside the current one. When that one left the list, the one behind it has moved up to its place.
    step(by, options) {
      const from = this.gone && by > 0 ? this.current - 1 : this.current;
      const wanted = from < 0 && Number.isFinite(by) ? 0 : from + by; // without a current one, at the start
      return this.go(Math.min(this.total - 1, Math.max(0, wanted)), options);
    }

    // Ids come from the list itself, not from the pages in memory: those may be read again meanwhile.
    async selectRange(one, other) {
      const [from, to] = one < other ? [one, other] : [other, one];
      const asked = [];
      for (let first = from; first <= to; first += MANY) asked.push(this.fetch(first, Math.min(MANY, to + 1 - first)));
      const answers = await Promise.all(asked);
      if (answers.some((answer) => !answer)) return;
      this.selection = new Set(answers.flatMap(({ items }) => items.map(([pid]) => pid)));
    }

    async selectAll() {
      await this.selectRange(0, this.total - 1);
      this.draw();
      this.selected(this.selection.size);
    }

    selectNone() {
      this.selection.clear();
      this.draw();
      this.selected(0);
    }

    show(index) {
      const top = Math.floor(index / this.columns) * this.row;
      const { scrollTop, clientHeight } = this.element;
      if (top < scrollTop) this.element.scrollTop = top;
      else if (top + this.row + GAP > scrollTop + clientHeight) this.element.scrollTop = top + this.row + GAP - clientHeight;
    }

    resize(side) {
      const first = Math.floor(this.element.scrollTop / (this.row || 1)) * this.columns;
      this.side = side;
      this.layout();
      this.element.scrollTop = Math.floor(first / this.columns) * this.row;
    }
  }

  // One mark for each kind of fault; what they are is in the title.
  function marks(flags) {
    const kinds = new Map();
    for (const flag of flags) kinds.set(FLAG_ICONS[flag] ?? "warning", [...(kinds.get(FLAG_ICONS[flag] ?? "warning") ?? []), t(`filter.${flag}`)]);
    return [...kinds].map(([name, titles]) => h("span", { class: "ds-mark", title: titles.join(", ") }, icon(name)));
  }

  at.DatasetGrid = DatasetGrid;
})();
