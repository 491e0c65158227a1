// A try-out on a few pictures: what the captions are and what they would be. Nothing is written.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h, icon } = at;
  const LIVE = ["starting", "running"];

  // Tells one try-out from another.
  const mark = (found) => JSON.stringify([found?.set, found?.captioner, (found?.results ?? []).map(({ pid, after, seconds }) => [pid, after, seconds])]);

  class CaptionTrial {
    // stop(): end it
    constructor(stop) {
      Object.assign(this, { stop, found: null });
      this.element = h("section", { class: "cp-trial", "aria-label": t("captioning.trial"), hidden: true });
    }

    get live() {
      return LIVE.includes(this.found?.state);
    }

    // Seconds a picture took with this captioner; null while that is not known.
    pace(captioner) {
      const times = (this.found?.captioner === captioner ? this.found.results : []).map(({ seconds }) => seconds).filter((seconds) => seconds > 0);
      return times.length ? times.reduce((sum, seconds) => sum + seconds, 0) / times.length : null;
    }

    // What was tried became a job: it is not shown again, on a page that is loaded anew either.
    dismiss() {
      at.save("captions-tried", mark(this.found));
      this.show(this.found, null);
    }

    // found: as the server tells it; set: the one that is chosen
    show(found, set) {
      const mine = found?.state && found.set === set && (LIVE.includes(found.state) || mark(found) !== at.load("captions-tried")) ? found : null;
      const key = JSON.stringify(mine);
      if (key === this.key) return false;
      Object.assign(this, { key, found: mine });
      this.element.hidden = !mine;
      if (mine) this.draw(mine);
      return true;
    }

    draw({ state, phase, detail, done, total, message, results }) {
      const doing = at.words[`phase.${phase}`] ?? t("captioning.trying");
      const head = this.live
        ? h("div", { class: "cp-progress" }, h("span", { class: "cp-phase" }, h("span", { text: [doing, detail].filter(Boolean).join(": ") }), total ? h("b", { text: `${done} / ${total}` }) : null), h("span", { class: "bar", style: { "--part": `${total ? (100 * done) / total : 0}%` } }), at.button(t("run.stop"), "stop", () => this.stop()))
        : null;
      const said = state === "failed" ? h("p", { class: "cp-warning danger", role: "alert" }, icon("problem"), h("span", { text: message || t("captioning.trial_failed") })) : state === "stopped" && !results.length ? h("p", { class: "muted", text: t("captioning.trial_stopped") }) : null;
      const list = results.map((one) => this.result(one));
      const note = results.length ? h("p", { class: "muted cp-small", text: t("captioning.trial_note") }) : null;
      this.element.replaceChildren(...[head, said, ...list, note].filter(Boolean));
    }

    result({ name, thumb, before, after, raw, reason, seconds }) {
      const body = reason ? h("p", { class: "cp-reason", text: at.sentence(reason) }) : at.diffBox(before, after);
      const said = raw && raw.trim() !== (after ?? "").trim() ? h("details", { class: "cp-raw" }, h("summary", { text: t("captioning.raw") }), h("p", { text: raw })) : null;
      return h("article", { class: "cp-result" },
        h("img", { src: thumb, alt: "", loading: "lazy" }),
        h("div", {}, h("div", { class: "cp-result-head" }, h("strong", { text: name, title: name }), seconds ? h("span", { class: "muted", text: t("common.s", { s: +seconds.toFixed(1) }) }) : null), body, said));
    }
  }

  at.CaptionTrial = CaptionTrial;
})();
