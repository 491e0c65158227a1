// The caption of one picture: saved when the field is left, when another picture is chosen and by Ctrl+S.
// A text that could not be saved is kept until it is, whatever is opened meanwhile.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h, icon } = at;
  const COUNT_AFTER = 250; // milliseconds without a key

  class DatasetEditor {
    // key: "set/picture". save(key, text, stamp): record, or nothing when the server is gone; count(text): token counts;
    // saved(key, answer); next(): to the picture behind this one
    constructor({ save, count, saved, next }) {
      Object.assign(this, { send: save, count, saved, next, kept: new Map(), stamps: new Map(), key: null, base: "", queue: Promise.resolve(true) });
      this.text = h("textarea", { class: "ds-text", rows: "5", "aria-label": t("dataset.caption"), spellcheck: "true", placeholder: t("dataset.caption_hint"), oninput: () => this.typed(), onblur: () => this.flush(), onkeydown: (event) => this.press(event) });
      this.state = h("span", { class: "ds-state", role: "status" });
      this.tokens = h("div", { class: "ds-tokens" });
      this.conflict = h("div", { class: "ds-conflict", hidden: true });
      this.chips = new at.DatasetChips((text) => this.write(text));
      this.element = h("section", { class: "ds-editor" }, h("div", { class: "ds-section-head" }, h("h3", { text: t("dataset.caption") }), h("span", { class: "grow" }), this.state), this.text, this.tokens, this.conflict, this.chips.element);
      window.addEventListener("beforeunload", (event) => {
        if (this.dirty() || this.kept.size) event.preventDefault();
      });
    }

    dirty() {
      return this.key !== null && this.text.value !== this.base;
    }

    // A picture's caption as the server has it; what could not be saved of it earlier comes back.
    open(key, detail) {
      Object.assign(this, { key, base: detail.caption });
      const kept = this.kept.get(key);
      // a kept text goes with the stamp that it was written over: what somebody else wrote since is shown, not replaced
      if (kept === undefined) this.stamps.set(key, detail.stamp);
      this.text.value = kept ?? detail.caption;
      this.text.readOnly = Boolean(detail.locked);
      this.conflict.hidden = true;
      this.drawTokens(detail.tokens);
      this.chips.draw(detail.locked ? "" : this.text.value);
      if (detail.locked) this.tell("locked", detail.locked);
      else this.tell(kept === undefined ? "" : "unsaved");
      if (kept === undefined) return;
      this.recount();
      this.flush();
    }

    close() {
      Object.assign(this, { key: null, base: "" });
      this.text.value = "";
    }

    write(text) {
      this.text.value = text;
      this.typed();
      this.flush();
    }

    typed() {
      this.tell(this.dirty() ? "unsaved" : "");
      this.chips.draw(this.text.value);
      this.recount();
    }

    recount() {
      clearTimeout(this.later);
      const text = this.text.value;
      this.later = setTimeout(async () => {
        const counts = await this.count(text);
        if (counts && this.text.value === text) this.drawTokens(counts);
      }, COUNT_AFTER);
    }

    press(event) {
      if (event.isComposing) return;
      const command = event.ctrlKey || event.metaKey;
      if (command && event.key.toLowerCase() === "s") {
        event.preventDefault();
        if (!this.dirty() && !this.text.readOnly) this.tell("saved"); // the key is answered even when there is nothing to do
        this.flush();
      } else if (command && event.key === "Enter") {
        event.preventDefault();
        this.next();
      } else if (event.key === "Escape") {
        event.stopPropagation();
        at.emit("dataset-grid");
      }
    }

    // Saves what was typed, one save after another. Resolves to false when it could not be saved; the text is kept then.
    flush() {
      const { key } = this;
      const text = this.text.value;
      if (this.dirty()) {
        this.kept.set(key, text);
        this.queue = this.queue.then(() => this.store(key, text));
      } else if (key) this.kept.delete(key);
      return this.queue;
    }

    async store(key, text) {
      const here = () => this.key === key;
      if (here() && this.base === text) return true; // an earlier save had it
      if (here()) this.tell("saving");
      const answer = await this.send(key, text, this.stamps.get(key));
      if (!answer?.item) {
        if (here()) this.fail(answer);
        else at.toast(answer?.error ?? t(answer ? "dataset.conflict_later" : "common.no_answer"), "danger");
        return false;
      }
      this.stamps.set(key, answer.detail.stamp);
      if (this.kept.get(key) === text) this.kept.delete(key);
      if (here()) this.agree(text, answer.detail);
      this.saved(key, answer);
      return true;
    }

    agree(text, detail) {
      this.base = text;
      this.conflict.hidden = true;
      this.tell(this.dirty() ? "unsaved" : "saved");
      if (!this.dirty()) this.drawTokens(detail.tokens);
    }

    // When the file was changed by somebody else both texts are shown, and neither is lost.
    fail(answer) {
      const conflict = answer?.conflict !== undefined;
      this.tell("error", conflict ? t("dataset.not_saved") : (answer?.error ?? t("common.no_answer")));
      this.conflict.hidden = !conflict;
      if (!conflict) return;
      this.conflict.replaceChildren(
        h("strong", {}, icon("warning"), h("span", { text: t("dataset.conflict") })),
        h("pre", { class: "code wraps", text: answer.conflict || t("dataset.no_caption") }),
        h("div", { class: "actions" },
          at.button(t("dataset.keep_mine"), null, () => this.overwrite(answer.stamp)),
          at.button(t("dataset.take_theirs"), null, () => this.takeTheirs(answer.conflict, answer.stamp))));
      this.conflict.scrollIntoView({ block: "nearest" });
    }

    // One's own text stays: the save is repeated with the stamp of what is on disk now.
    overwrite(stamp) {
      this.stamps.set(this.key, stamp);
      this.flush();
    }

    takeTheirs(text, stamp) {
      this.kept.delete(this.key);
      this.stamps.set(this.key, stamp);
      this.base = text;
      this.text.value = text;
      this.conflict.hidden = true;
      this.typed();
      at.emit("dataset-look");
    }

    tell(state, text = "") {
      this.state.dataset.state = state;
      this.state.textContent = text || (state ? t(`dataset.${state}`) : "");
    }

    drawTokens(counts) {
      this.tokens.replaceChildren(...counts.map(({ encoder, n, limit, chunks }) => {
        const over = limit && n > limit;
        const text = chunks.length && !over ? t("dataset.tokens_chunks", { n, limit, chunks: chunks.length + 1 }) : t("dataset.tokens", { n, limit });
        return h("span", { class: `ds-token ${over ? "over" : ""}`, title: over ? t("dataset.too_long", { text: this.text.value.slice(chunks.at(-1)).trim().slice(0, 80) }) : "" },
          h("span", { text: encoder }), h("span", { class: `bar ${over ? "warning" : ""}`, style: { "--part": `${Math.min(100, (100 * n) / (limit || n || 1))}%` } }), h("b", { text }));
      }));
    }
  }

  at.DatasetEditor = DatasetEditor;
})();
