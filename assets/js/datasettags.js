// The tags of what is shown, by how often they occur: a click filters, two small buttons rename or remove everywhere.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h, icon } = at;
  const LISTED = 300;
  const OFFERED = 500;

  class DatasetTags {
    // ask(limit): [[tag, count]]; pick(tag): filter by it, or by none; edit(operation): a bulk edit to begin with
    constructor({ ask, pick, edit }) {
      Object.assign(this, { ask, pick, edit, chosen: "", found: [], turn: 0 });
      this.search = h("input", { type: "search", placeholder: t("dataset.find_tag"), "aria-label": t("dataset.find_tag"), autocomplete: "off", spellcheck: "false", oninput: () => this.draw() });
      this.list = h("div", { class: "ds-tag-list" });
      this.element = h("aside", { class: "ds-tags", hidden: true, "aria-label": t("dataset.tags") }, h("label", { class: "search" }, icon("search"), this.search), this.list);
    }

    toggle() {
      this.element.hidden = !this.element.hidden;
      this.look();
      return !this.element.hidden;
    }

    async look() {
      if (this.element.hidden) return;
      const turn = ++this.turn;
      const found = await this.ask(LISTED);
      if (!found || turn !== this.turn) return;
      this.found = found;
      this.draw();
    }

    draw() {
      const wanted = this.search.value.trim().toLowerCase();
      const rows = this.found.filter(([tag]) => tag === this.chosen || tag.toLowerCase().includes(wanted));
      if (!rows.length) return this.list.replaceChildren(h("p", { class: "muted pad", text: t("dataset.no_tags") }));
      const most = rows[0][1];
      this.list.replaceChildren(...rows.map(([tag, count]) => this.row(tag, count, most)));
    }

    row(tag, count, most) {
      const on = tag === this.chosen;
      const choose = () => {
        this.chosen = on ? "" : tag;
        this.pick(this.chosen);
      };
      return h("div", { class: "ds-tag" },
        h("button", { type: "button", class: "ds-tag-name", "aria-pressed": String(on), style: { "--part": `${(100 * count) / most}%` }, title: tag, onclick: choose }, h("span", { text: tag }), h("b", { text: String(count) })),
        at.iconButton(t("dataset.rename_tag", { tag }), "edit", () => this.edit({ kind: "rename", tag })),
        at.iconButton(t("dataset.remove_tag", { tag }), "delete", () => this.edit({ kind: "remove", tag })));
    }
  }

  // Tags that text fields offer while one types, the most frequent first. ask(limit): [[tag, count]]; as(tag): how such
  // a field writes it.
  at.offerTags = async (list, ask, as = (tag) => tag) => {
    const found = await ask(OFFERED);
    if (found) list.replaceChildren(...found.map(([tag]) => h("option", { value: as(tag) })));
  };

  at.DatasetTags = DatasetTags;
})();
