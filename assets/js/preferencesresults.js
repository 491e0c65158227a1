// Step 4: what the votes say, how far they can be trusted, and what to do with them.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h, icon } = at;

  const percent = (share) => (share === null || share === undefined ? "-" : `${Math.round(100 * share)} %`);

  const kappa = (value) => (value === null ? "-" : value.toFixed(2).replace("-0.00", "0.00"));

  // A share with its interval as a bar; a line marks a half.
  function interval({ share, low, high, n }, name) {
    const words = share === null ? t("preferences.not_known") : t("preferences.interval", { share: percent(share), low: percent(low), high: percent(high), n });
    return h("div", { class: "pf-interval", role: "img", "aria-label": `${name}: ${words}`, title: words },
      h("span", { class: "pf-interval-name", text: name }),
      h("span", { class: "pf-interval-bar" }, share === null ? null : h("i", { class: "pf-interval-range", style: { "--low": `${100 * low}%`, "--high": `${100 * high}%` } }), share === null ? null : h("i", { class: "pf-interval-dot", style: { "--at": `${100 * share}%` } })),
      h("b", { text: percent(share) }), h("span", { class: "muted", text: share === null ? "" : `${percent(low)} \u2013 ${percent(high)}, n ${+(+n).toFixed(1)}` }));
  }

  const figure = (value, words, title = null) => h("div", { title }, h("b", { text: value }), h("span", { text: words }));

  class PreferenceResults {
    // trained(): the draft was filled; label(): the voting page
    constructor({ ask, label }) {
      Object.assign(this, { ask, set: "", key: "" });
      this.figures = h("div", { class: "numbers pf-figures" });
      this.warnings = h("ul", { class: "checks" });
      this.people = h("section", { class: "step" });
      this.scorers = h("section", { class: "step" });
      this.train = h("section", { class: "plan pf-train" });
      this.exports = h("section", { class: "step" });
      this.some = h("div", { class: "pf-pane" }, h("div", { class: "pf-columns" }, h("div", { class: "pf-pane" }, h("section", { class: "step" }, this.figures, this.warnings), this.people, this.scorers, this.exports), h("aside", { class: "pf-side" }, this.train)));
      this.none = h("div", { class: "empty" }, icon("preferences"), h("p", { text: t("preferences.no_votes") }), at.button(t("preferences.to_label"), null, label, "primary"));
      this.element = h("div", {}, this.none, this.some);
      this.useScores = false;
    }

    open(set) {
      Object.assign(this, { set, key: "", useScores: false });
      this.none.hidden = this.some.hidden = true;
    }

    async show(status) {
      const key = JSON.stringify([status.name, status.rev]);
      if (key === this.key) return;
      this.key = key;
      const answer = await this.ask.pref_results([status.name, this.useScores]);
      if (status.name !== this.set || !answer || answer.error) return void (answer?.error && at.toast(answer.error, "danger"));
      this.draw(answer);
    }

    draw(answer) {
      const { votes, usable, auto } = answer;
      this.none.hidden = votes > 0 || auto > 0 || usable.real > 0;
      this.some.hidden = !this.none.hidden;
      this.figures.replaceChildren(
        figure(String(votes), t("preferences.votes")), figure(`${answer.answered} / ${answer.pairs}`, t("preferences.answered")),
        figure(percent(answer.consistency.share), t("preferences.consistency"), t("preferences.consistency.note", { n: answer.consistency.n })),
        figure(kappa(answer.fleiss), t("preferences.kappa"), t("preferences.kappa.note")));
      this.warnings.replaceChildren(...this.doubts(answer).map((text) => h("li", { class: "warning" }, icon("warning"), h("div", {}, h("span", { text })))));
      this.drawPeople(answer);
      this.drawScorers(answer);
      this.drawTrain(answer);
      this.drawExports(answer);
    }

    doubts({ position, fast, votes, label_smoothing: rate }) {
      return [
        position.n >= 20 && position.p < 0.01 ? t("preferences.position_bias", { percent: percent(position.left / position.n), n: position.n }) : "",
        fast > 0.05 * votes ? t("preferences.fast", { n: fast }) : "",
        rate !== null && rate > 0.2 ? t("preferences.unsure", { percent: percent(rate) }) : "",
      ].filter(Boolean);
    }

    drawPeople({ annotators, overlaps, votes }) {
      this.people.hidden = !votes;
      const cells = (list, tag) => list.map((text) => h(tag, { text }));
      const head = h("tr", {}, cells(["person", "votes", "per_minute", "consistency", "left", "fast"].map((name) => t(`preferences.col_${name}`)), "th"));
      const rows = annotators.map((one) => h("tr", {}, h("th", { scope: "row", text: one.name }), cells([String(one.votes), one.per_minute === null ? "-" : String(Math.round(one.per_minute)), one.consistency.n ? `${percent(one.consistency.share)} (${one.consistency.n})` : "-", one.position.n ? percent(one.position.left / one.position.n) : "-", String(one.fast)], "td")));
      this.people.replaceChildren(h("h3", { text: t("preferences.people") }), h("div", { class: "pf-scroll" }, h("table", { class: "pf-table" }, h("thead", {}, head), h("tbody", {}, rows))), ...(overlaps.length ? this.matrix(annotators.map(({ name }) => name), overlaps) : []));
    }

    matrix(names, overlaps) {
      const found = (one, other) => overlaps.find((pair) => [pair.one, pair.other].includes(one) && [pair.one, pair.other].includes(other));
      const cell = (one, other) => {
        const pair = one === other ? null : found(one, other);
        const strength = pair?.kappa === null || !pair ? 0 : Math.max(0, pair.kappa);
        return h("td", { class: "pf-kappa", style: { "--strength": `${Math.round(60 * strength)}%` }, title: pair ? at.some("preferences.both", pair.n) : null, text: pair ? kappa(pair.kappa) : "" });
      };
      const table = h("table", { class: "pf-table" }, h("thead", {}, h("tr", {}, h("th"), names.map((name) => h("th", { text: name })))), h("tbody", {}, names.map((one) => h("tr", {}, h("th", { scope: "row", text: one }), names.map((other) => cell(one, other))))));
      return [h("h3", { text: t("preferences.matrix") }), h("div", { class: "pf-scroll" }, table)];
    }

    drawScorers({ scorers }) {
      const known = Object.entries(scorers).filter(([, share]) => share.n);
      this.scorers.hidden = !known.length;
      this.scorers.replaceChildren(h("h3", { text: t("preferences.scorer_agreement") }), h("p", { class: "muted", text: t("preferences.scorer_agreement.note") }), ...known.map(([name, share]) => interval(share, name)));
    }

    drawTrain({ usable, auto, base }) {
      const box = h("input", { type: "checkbox", id: "pf-use-scores", onchange: () => { this.useScores = box.checked; this.key = ""; this.ask.pref_results([this.set, this.useScores]).then((answer) => answer && !answer.error && this.draw(answer)); } });
      box.checked = this.useScores;
      const pairs = usable.pairs + usable.real;
      const training = pairs - usable.held_out_pairs;
      const go = at.button(t("preferences.train"), "train", () => this.trainOn(false), "primary cp-start");
      go.id = "pf-train";
      const now = at.button(t("preferences.train_now"), "play", () => this.trainOn(true));
      go.disabled = now.disabled = !training;
      this.train.replaceChildren(
        h("div", { class: "numbers" }, figure(String(Math.max(0, training)), t("preferences.to_train")), figure(String(usable.held_out_pairs), t("preferences.held_out")), figure(String(usable.prompts), t("preferences.prompts"))),
        ...(auto ? [h("div", { class: "cp-check" }, box, h("label", { for: "pf-use-scores", text: at.some("preferences.use_scores", auto) }))] : []),
        h("p", { class: "muted", text: base ? t("preferences.train_note", { base }) : t("preferences.train_note_no_base") }),
        ...(usable.missing ? [h("p", { class: "cp-warning" }, icon("warning"), h("span", { text: at.some("preferences.missing", usable.missing) }))] : []),
        go, now);
    }

    async trainOn(start) {
      const answer = await this.ask.pref_train([this.set, this.useScores, start]);
      if (!answer || answer.error) return void at.toast(answer?.error ?? t("common.no_answer"), "danger");
      at.act?.("look", ""); // both forms follow
      if (answer.run) {
        at.emit("started", answer.run);
        return at.go("runs", answer.run);
      }
      at.toast(answer.refused || t("preferences.train_filled"), answer.refused ? "danger" : "");
      at.go("expert");
    }

    drawExports({ formats }) {
      this.exports.replaceChildren(h("h3", { text: t("preferences.export") }), h("p", { class: "muted", text: t("preferences.export.note") }), h("div", { class: "actions" }, formats.map((format) => {
        const made = at.button(t(`preferences.format_${format}`), "download", () => this.export(format, made));
        made.dataset.format = format;
        return made;
      })));
    }

    async export(format, button) {
      button.disabled = true;
      const answer = await this.ask.pref_export([this.set, format, this.useScores]);
      button.disabled = false;
      if (!answer || answer.error) return void at.toast(answer?.error ?? t("common.no_answer"), "danger");
      at.toast(t("preferences.exported", { path: answer.path }), "", [t("common.copy"), () => at.copy(answer.path)]);
    }
  }

  Object.assign(at, { PreferenceResults, intervalBar: interval });
})();
