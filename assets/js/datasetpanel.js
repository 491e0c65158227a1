// The panel beside the grid: the current picture with its crops, its caption, and what training will make of both.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h, icon } = at;

  const SHOWN = 15; // of a group of near-duplicates
  const OPENED = Date.now(); // in addresses whose version is not known: browsers keep pictures for a year
  const percent = (share) => `${+(100 * share).toFixed(1)} %`;
  const size = (bytes) => (bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`);
  const sides = ([width, height]) => `${width} \u00d7 ${height}`;

  class DatasetPanel {
    // ask: the server; set(): id of the open set; moves: {step(by), trash(pid), pick(pid)}; saved(answer)
    constructor({ ask, set, moves, saved }) {
      Object.assign(this, { ask, set, moves, pid: null, turn: 0 });
      this.editor = new at.DatasetEditor({
        save: (key, text, stamp) => ask.save([...key.split("/"), text, stamp]),
        count: (text) => ask.count(text),
        saved: (key, answer) => saved(key, answer),
        next: () => this.next(),
      });
      this.head = h("header", { class: "ds-panel-head" });
      this.stage = h("div", { class: "ds-stage" });
      this.cuts = h("div", { class: "ds-cuts" });
      this.rest = h("div", { class: "ds-rest" });
      this.body = h("div", { class: "ds-panel-body", hidden: true }, this.head, this.stage, this.cuts, this.editor.element, this.rest);
      this.placeholder = h("div", { class: "empty" }, icon("pictures"), h("p", { text: t("dataset.choose") }));
      this.element = h("aside", { class: "ds-panel", "aria-label": t("dataset.panel") }, this.placeholder, this.body);
    }

    // Saves what was typed about the last picture first.
    async open(pid) {
      const turn = ++this.turn;
      const set = this.set();
      this.editor.flush();
      await this.editor.queue;
      const another = `${set}/${pid}` !== this.editor.key;
      if (another) this.editor.text.readOnly = true; // letters typed now would belong to the last picture
      const detail = pid ? await this.ask.detail([set, pid]) : null;
      if (turn !== this.turn || (!another && this.editor.dirty())) return;
      this.pid = detail ? pid : null;
      this.body.hidden = !detail;
      this.placeholder.hidden = Boolean(detail);
      if (!detail) return this.editor.close();
      this.editor.open(`${set}/${pid}`, detail);
      this.draw(detail);
      if (another) this.element.scrollTop = 0;
      if (this.typing) this.edit();
    }

    // The same picture again, as after a bulk edit. Nothing happens while a text waits to be saved.
    look() {
      if (this.pid && !this.editor.dirty()) this.open(this.pid);
    }

    edit() {
      this.typing = false;
      if (this.body.hidden) return;
      this.editor.text.focus({ preventScroll: true });
      this.editor.text.setSelectionRange(this.editor.text.value.length, this.editor.text.value.length);
      this.editor.text.scrollIntoView({ block: "nearest" });
    }

    // To the next picture, and on with typing there.
    next() {
      this.typing = true;
      this.moves.step(1);
    }

    draw(detail) {
      this.detail = detail;
      this.head.replaceChildren(
        h("strong", { text: detail.name, title: detail.name }), h("span", { class: "grow" }),
        at.iconButton(t("dataset.previous"), "left", () => this.moves.step(-1)),
        at.iconButton(t("dataset.next"), "right", () => this.moves.step(1)),
        at.iconButton(t("dataset.trash"), "delete", () => this.moves.trash([detail.pid])));
      this.drawStage(detail);
      this.drawRest(detail);
    }

    // One frame for each resolution over the picture; all else is what the crop loses.
    drawStage(detail) {
      const picture = h("img", { src: detail.url, alt: detail.caption || detail.name, decoding: "async" });
      const frames = detail.cuts.map(({ box: [left, top, right, bottom] }, index) => h("span", { class: "ds-frame", data: { n: String(index % 3) }, style: { left: `${100 * left}%`, top: `${100 * top}%`, width: `${100 * (right - left)}%`, height: `${100 * (bottom - top)}%` } }));
      this.stage.replaceChildren(h("div", { class: "ds-view", style: { "--shape": `${detail.width} / ${detail.height}`, "--wide": String(detail.width / detail.height) } }, picture, frames));
      this.cuts.replaceChildren(...detail.cuts.map((cut, index) => h("span", { class: `ds-cut ${cut.enlarged > 1.4 ? "warning" : ""}`, data: { n: String(index % 3) } },
        h("i"), h("b", { text: sides(cut.bucket) }),
        h("span", { text: [t("dataset.loses", { part: percent(cut.loss) }), cut.enlarged >= 1.05 ? t("dataset.enlarged", { n: cut.enlarged.toFixed(1) }) : ""].filter(Boolean).join(", ") }))));
    }

    drawRest(detail) {
      const facts = [
        [t("dataset.size"), `${sides([detail.width, detail.height])}, ${size(detail.bytes)}`],
        [t("dataset.caption_file"), detail.caption_file || t("dataset.none")],
        detail.flags.length ? [t("dataset.flags"), detail.flags.map((flag) => t(`filter.${flag}`)).join(", ")] : null,
      ].filter(Boolean);
      this.rest.replaceChildren(
        ...[
          detail.reason ? h("p", { class: "ds-note danger", text: at.sentence(detail.reason) }) : null,
          detail.beside ? h("p", { class: "muted ds-note", text: t("dataset.beside") }) : null,
          detail.texts.length ? h("section", {}, h("h3", { text: t("dataset.sees") }), h("ol", { class: "ds-sees" }, detail.texts.map((text) => h("li", { text: text || t("dataset.empty_text") })))) : null,
          detail.group.length > 1 ? this.group(detail) : null,
          h("section", {}, h("h3", { text: t("dataset.facts") }), h("dl", { class: "ds-facts" }, facts.map(([name, value]) => [h("dt", { text: name }), h("dd", { text: value })]).flat())),
        ].filter(Boolean));
    }

    group(detail) {
      return h("section", {}, h("h3", { text: t("dataset.group") }),
        h("div", { class: "ds-group" }, detail.group.slice(0, SHOWN).map((pid) => h("button", { type: "button", "aria-current": pid === detail.pid ? "true" : null, onclick: () => this.moves.pick(pid) }, h("img", { src: `/thumb/data/${this.set()}/${pid}?v=${OPENED}`, alt: "" }))), detail.group.length > SHOWN ? h("span", { class: "muted", text: `+${detail.group.length - SHOWN}` }) : null));
    }
  }

  at.DatasetPanel = DatasetPanel;
})();
