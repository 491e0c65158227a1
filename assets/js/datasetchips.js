// The tags of a caption as chips: taken away with a click or Delete, moved by dragging or with the arrows.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h } = at;
  const WORDS = 4; // of a tag, on average; more are sentences

  const split = (text) => text.split(",").map((tag) => tag.trim()).filter(Boolean);

  // Sentences have commas too, and must not be offered as tags.
  function isTags(text) {
    const tags = split(text);
    const words = tags.reduce((sum, tag) => sum + tag.split(/\s+/).length, 0);
    return tags.length > 1 && !text.trim().includes("\n") && !/[.!?]\s/.test(text) && words / tags.length <= WORDS;
  }

  class DatasetChips {
    // changed(text): the caption that the chips now make
    constructor(changed) {
      this.changed = changed;
      this.element = h("div", { class: "ds-chips", role: "list", "aria-label": t("dataset.tags"), hidden: true, onkeydown: (event) => this.key(event), ondragover: (event) => this.dragged >= 0 && event.preventDefault(), ondrop: (event) => this.drop(event) });
      this.dragged = -1;
    }

    draw(text) {
      this.tags = isTags(text) ? split(text) : [];
      this.element.hidden = !this.tags.length;
      this.element.replaceChildren(...this.tags.map((tag, index) => h("span",
        { class: "ds-chip", role: "listitem", tabindex: "0", draggable: "true", title: t("dataset.chip_hint"), data: { at: String(index) }, ondragstart: () => { this.dragged = index; }, ondragend: () => { this.dragged = -1; } },
        h("span", { text: tag }), h("button", { type: "button", tabindex: "-1", "aria-label": t("dataset.remove_tag", { tag }), text: "\u00d7", onclick: () => this.remove(index) }))));
    }

    key(event) {
      const index = Number(event.target.closest(".ds-chip")?.dataset.at ?? -1);
      if (index < 0) return;
      if (event.key === "Delete" || event.key === "Backspace") this.remove(index);
      else if (event.key === "ArrowLeft") this.move(index, index - 1);
      else if (event.key === "ArrowRight") this.move(index, index + 1);
      else return;
      event.preventDefault();
    }

    drop(event) {
      const chip = event.target.closest(".ds-chip");
      if (this.dragged < 0 || !chip) return;
      event.preventDefault();
      this.move(this.dragged, Number(chip.dataset.at));
      this.dragged = -1;
    }

    remove(index) {
      this.set(this.tags.toSpliced(index, 1), Math.min(index, this.tags.length - 2));
    }

    move(from, to) {
      if (to < 0 || to >= this.tags.length || from === to) return;
      this.set(this.tags.toSpliced(from, 1).toSpliced(to, 0, this.tags[from]), to);
    }

    set(tags, focus) {
      this.changed(tags.join(", "));
      this.element.children[focus]?.focus();
    }
  }

  at.DatasetChips = DatasetChips;
})();
