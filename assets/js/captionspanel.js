// The panel beside the pictures: the caption to edit, what the job changed in it, and who wrote it.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h } = at;

  class CaptionPanel extends at.DatasetPanel {
    // job: of the set; title(name): of a captioner; the rest as for the panel of data sets
    constructor({ job, title, ...rest }) {
      super(rest);
      Object.assign(this, { job, title });
      this.placeholder.querySelector("p").textContent = t("captioning.choose");
    }

    open(pid) {
      this.wanted = pid;
      return super.open(pid);
    }

    // The picture that was asked for last: one that is still on its way must not lose against the one before.
    look() {
      if (this.wanted && !this.editor.dirty()) this.open(this.wanted);
    }

    draw(detail) {
      this.detail = detail;
      this.head.replaceChildren(
        h("strong", { text: detail.name, title: detail.name }), h("span", { class: "grow" }),
        at.iconButton(t("dataset.previous"), "left", () => this.moves.step(-1)),
        at.iconButton(t("dataset.next"), "right", () => this.moves.step(1)));
      this.drawStage({ ...detail, cuts: [] }); // how it is cropped is a matter of training
      this.drawRest(detail);
    }

    async drawRest(detail) {
      const [, , status = "", before = null, , reason = ""] = this.job.of(detail.pid) ?? [];
      const said = status && status !== "written" ? h("section", {}, h("h3", { text: t(`captioning.${status}`) }), h("p", { class: `ds-note ${status === "failed" ? "danger" : ""}`, text: at.sentence(reason) })) : null;
      const diff = status === "written" ? h("section", { class: "cp-changed" }, h("h3", { text: t("captioning.changed") }), at.diffBox(before, detail.caption)) : null;
      const by = h("section", { hidden: true });
      const beside = detail.beside ? h("p", { class: "muted ds-note", text: t("dataset.beside") }) : null;
      this.rest.replaceChildren(...[beside, said, diff, by].filter(Boolean));
      this.rest.hidden = !beside && !said && !diff;
      const author = await this.ask.written([this.set(), detail.pid]);
      if (!author?.captioner || this.detail !== detail) return;
      by.replaceChildren(h("h3", { text: t("captioning.by") }), this.author(author));
      by.hidden = this.rest.hidden = false;
    }

    author({ captioner, prompt, seed, when, edited }) {
      const facts = [
        [t("captioning.captioner"), this.title(captioner)],
        prompt ? [t("captioning.prompt"), prompt] : null,
        [t("run.seed"), String(seed)],
        [t("captioning.when"), at.when(when)],
        edited ? [t("captioning.since"), t("captioning.edited")] : null,
      ].filter(Boolean);
      return h("dl", { class: "ds-facts" }, facts.map(([name, value]) => [h("dt", { text: name }), h("dd", { text: value })]).flat());
    }
  }

  at.CaptionPanel = CaptionPanel;
})();
