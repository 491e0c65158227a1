// Step 1: which data set is captioned, and how many of its pictures have a caption.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h, icon } = at;

  class CaptionSets {
    // ask: the server; chosen(id): another set; changed(): its captions are others now
    constructor({ ask, chosen, changed }) {
      Object.assign(this, { ask, chosen, changed, list: [], draft: "", id: "", status: null, rev: null, now: () => {} });
      this.select = h("select", { id: "cp-set", class: "cp-select", "aria-label": t("dataset.set"), onchange: () => this.choose(this.select.value) });
      this.thumb = h("img", { class: "ds-set-thumb", alt: "", hidden: true });
      this.counts = h("p", { class: "cp-counts", role: "status" });
      this.bar = h("span", { class: "bar", hidden: true });
      this.why = h("span");
      this.locked = h("div", { class: "ds-locked", hidden: true }, icon("lock"), this.why, at.button(t("dataset.copy_set"), "copy", () => this.copy()));
      this.fresh = at.iconButton(t("dataset.reload"), "refresh", () => this.reload());
      const look = at.button(t("captioning.open_data"), "pictures", () => this.toData());
      this.line = h("div", { class: "cp-set" }, this.thumb, this.select, this.fresh, look);
      this.none = h("div", { class: "empty", hidden: true }, icon("pictures"), h("p", { text: t("captioning.no_sets") }), at.button(t("captioning.add_pictures"), "upload", () => at.go("dataset"), "primary"));
      this.element = h("div", { class: "cp-step-body" }, this.none, this.line, this.counts, this.bar, this.locked);
    }

    current() {
      return this.list.find((one) => one.id === this.id) ?? null;
    }

    // Reads the list again. wanted: the set to open; without one the last one, else that of the tab of data sets or the draft's.
    async look(wanted = "") {
      const answer = await this.ask.sets(0);
      if (!answer) return;
      Object.assign(this, { list: answer.sets, draft: answer.draft });
      const known = (id) => id && this.list.some((one) => one.id === id);
      const id = [wanted, this.id, at.load("captions-set"), at.load("dataset"), this.draft, this.list[0]?.id].find(known) ?? "";
      this.none.hidden = this.list.length > 0;
      this.line.hidden = !this.list.length;
      this.select.replaceChildren(...this.list.map((one) => h("option", { value: one.id, text: one.name })));
      this.select.value = id;
      if (id !== this.id) await this.choose(id);
      else this.draw();
    }

    choose(id) {
      Object.assign(this, { id, status: null, rev: null });
      this.select.value = id;
      if (id) at.save("captions-set", id);
      this.draw();
      return this.chosen(id);
    }

    // The state of the set. Returns the milliseconds until the next question.
    async poll() {
      const { id } = this;
      if (!id) return void this.look();
      const status = await this.ask.open(id);
      if (!status || id !== this.id) return 2000;
      if (status.error && !status.counts) {
        at.toast(status.error, "danger");
        this.id = "";
        await this.look();
        return 2000;
      }
      this.status = status;
      this.draw();
      if (status.ready && this.current()?.pictures !== status.counts[""]) await this.look();
      if (status.rev !== this.rev || !status.ready) {
        this.rev = status.rev;
        await this.changed();
      }
      return status.ready ? 3000 : 400;
    }

    // The folder as it is on disk now, as when files came or went meanwhile.
    async reload() {
      if (!this.id) return;
      await this.ask.reload(this.id);
      this.now();
    }

    draw() {
      const { status } = this;
      const one = this.current();
      const thumb = one?.pictures && one.thumb; // before it is read, the first file may be no picture
      this.thumb.hidden = !thumb;
      if (thumb && this.thumb.getAttribute("src") !== thumb) this.thumb.src = thumb;
      this.bar.hidden = !status || status.ready;
      this.locked.hidden = !status?.locked;
      this.why.textContent = status?.locked ?? "";
      if (!status) return void (this.counts.textContent = this.id ? t("dataset.looking") : "");
      this.bar.style.setProperty("--part", `${status.total ? (100 * status.done) / status.total : 0}%`);
      const bare = status.counts.no_caption ?? 0;
      const pictures = at.some("dataset.n_pictures", status.counts[""]);
      this.counts.textContent = status.ready ? t(bare ? "captioning.without" : "captioning.all_captioned", { pictures, n: bare }) : t("dataset.reading", { done: status.done, total: status.total });
    }

    toData() {
      at.save("dataset", this.id);
      at.emit("dataset", { set: this.id });
      at.go("dataset");
    }

    async copy() {
      const answer = await this.ask.copy_set(this.id);
      if (!answer?.id) return void at.toast(answer?.error ?? t("common.no_answer"), "danger");
      await this.look(answer.id);
      at.toast(t("dataset.copied", { name: this.current()?.name ?? "" }));
    }
  }

  at.CaptionSets = CaptionSets;
})();
