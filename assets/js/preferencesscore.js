// Step 2: who judges the pictures, and the pairs that follow from the scores. Other weights need no scoring anew.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h, icon } = at;
  const FIT_ICONS = { yes: "ok", tight: "warning", no: "problem" };
  const AFTER = 150; // milliseconds that a slider rests before the pairs are counted

  const fact = (iconName, text, kind = "") => h("span", { class: `fact ${kind}` }, icon(iconName), h("span", { text }));

  class ScorerCards {
    // chosen(names): the scorers that are to judge
    constructor(chosen) {
      Object.assign(this, { chosen, cards: [], names: new Set() });
      this.element = h("div", { class: "cards pf-scorers", role: "group", "aria-label": t("preferences.scorers") });
    }

    show(cards, names, scored) {
      const key = JSON.stringify([cards, names, scored]);
      if (key === this.key) return;
      Object.assign(this, { key, cards, names: new Set(names) });
      const focused = document.activeElement?.dataset.scorer;
      this.element.replaceChildren(...cards.map((card) => this.card(card, scored[card.name] ?? 0)));
      if (focused) this.element.querySelector(`[data-scorer="${focused}"]`)?.focus({ preventScroll: true });
    }

    card(card, scored) {
      const chosen = this.names.has(card.name);
      const size = card.built_in ? t("captioning.built_in") : card.here ? t("models.on_disk") : card.download_gib ? t("models.download", { size: at.gb(card.download_gib) }) : "";
      return h("button", { type: "button", class: "card pf-scorer", role: "checkbox", "aria-checked": String(chosen), data: { scorer: card.name }, onclick: () => this.toggle(card.name) },
        h("span", { class: "card-title" }, h("i", { class: "pf-tick" }), h("strong", { text: card.title }), h("span", { class: "grow" }), h("span", { class: "muted", text: t(`preferences.judges_${card.judges}`) })),
        h("span", { class: "card-note", text: card.note }),
        h("span", { class: "facts" },
          size ? fact(card.here || card.built_in ? "ok" : "download", size) : null,
          fact("file", card.licence),
          card.memory_gib ? fact(FIT_ICONS[card.fits] ?? "table", t("captioning.memory", { size: at.gb(card.memory_gib) }), card.fits ? `fit-${card.fits}` : "") : null,
          scored ? fact("ok", at.some("preferences.scored", scored), "fit-yes") : null),
        card.needs ? h("span", { class: "pf-needs" }, icon("warning"), h("code", { text: card.needs })) : null);
    }

    toggle(name) {
      this.names[this.names.has(name) ? "delete" : "add"](name);
      this.chosen(this.cards.map((card) => card.name).filter((one) => this.names.has(one)));
    }
  }

  // The same choice in one line, for a comparison: those that work here.
  class ScorerChoice {
    constructor(chosen) {
      Object.assign(this, { chosen, cards: [], names: [] });
      this.list = h("div", { class: "pf-chips", role: "group", "aria-label": t("preferences.scorers") });
      this.element = h("div", { class: "ds-label" }, h("span", { text: t("preferences.judges") }), this.list);
    }

    offer(cards) {
      if (Array.isArray(cards)) this.cards = cards.filter(({ needs, fits }) => !needs && fits !== "no");
    }

    show(names = []) {
      this.names = names;
      this.list.replaceChildren(...this.cards.map(({ name, title }) => h("button", { type: "button", class: "ds-filter", "aria-pressed": String(names.includes(name)), data: { scorer: name }, onclick: () => this.toggle(name) }, h("span", { text: title }))));
    }

    toggle(name) {
      const names = this.names.includes(name) ? this.names.filter((one) => one !== name) : [...this.names, name];
      this.show(names);
      this.list.querySelector(`[data-scorer="${name}"]`)?.focus({ preventScroll: true });
      this.chosen(names);
    }
  }

  // Weights, margin and agreement, with the number of pairs that they come to.
  class PairRule {
    // built(): pairs were written
    constructor({ ask, built }) {
      Object.assign(this, { ask, built, set: "", rule: null, turn: 0 });
      this.weights = h("div", { class: "pf-sliders" });
      this.others = h("div", { class: "pf-sliders" });
      this.which = h("select", { class: "cp-select", id: "pf-which", onchange: () => this.change({ pairs: this.which.value }) });
      this.result = h("p", { class: "pf-rule-result", role: "status" });
      this.button = at.button(t("preferences.build"), null, () => this.build(), "primary");
      this.button.id = "pf-build";
      this.element = h("section", { class: "step pf-rule", hidden: true }, h("header", { class: "step-heading" }, h("h2", { text: t("preferences.rule") }), h("p", { text: t("preferences.rule.note") })),
        this.weights, h("label", { class: "ds-label pf-which" }, h("span", { text: t("preferences.which") }), this.which), this.others, h("div", { class: "pf-rule-line" }, this.result, this.button));
    }

    open(set) {
      Object.assign(this, { set, rule: null, turn: this.turn + 1 });
      this.element.hidden = true;
    }

    // What the server keeps of the rule, and what it comes to.
    async look() {
      const { set, turn } = this;
      const answer = set ? await this.ask.pref_rule([set, {}]) : null;
      if (set !== this.set || turn !== this.turn || !answer?.rule) return; // a slider that was moved meanwhile counts
      this.rule = answer.rule;
      this.build_form(answer);
      this.tell(answer);
    }

    build_form({ rule, scorers, kinds }) {
      this.weights.replaceChildren(...scorers.map((name) => this.slider(name, rule.weights[name] ?? 1, 0, 3, 0.1, (value) => ({ weights: { [name]: value } }))));
      this.which.replaceChildren(...kinds.map((kind) => h("option", { value: kind, text: t(`preferences.which_${kind}`) })));
      this.which.value = rule.pairs;
      const scored = scorers.length > 0 && rule.pairs !== "random";
      this.others.replaceChildren(...[
        scored ? this.slider(t("preferences.margin"), rule.margin, 0, 3, 0.05, (margin) => ({ margin })) : null,
        scored && scorers.length > 1 ? this.slider(t("preferences.agree"), rule.agree, 0, 1, 0.05, (agree) => ({ agree })) : null,
        rule.pairs === "random" ? this.slider(t("preferences.per_prompt"), rule.per_prompt, 1, 12, 1, (per_prompt) => ({ per_prompt })) : null,
      ].filter(Boolean));
      this.element.hidden = false;
    }

    slider(name, value, min, max, step, changes) {
      const shown = h("output", { text: String(value) });
      const input = h("input", { type: "range", min: String(min), max: String(max), step: String(step), "aria-label": name, oninput: () => {
        shown.textContent = input.value;
        this.change(changes(Number(input.value)), false);
      } });
      input.value = String(value);
      return h("label", { class: "pf-slider", data: { name } }, h("span", { text: name }), input, shown);
    }

    change(changes, rebuild = true) {
      const weights = { ...this.rule.weights, ...changes.weights };
      this.rule = { ...this.rule, ...changes, weights };
      const turn = ++this.turn;
      clearTimeout(this.later);
      this.later = setTimeout(async () => {
        const answer = await this.ask.pref_rule([this.set, this.rule]);
        if (turn !== this.turn) return;
        if (rebuild && answer?.rule) this.build_form(answer);
        this.tell(answer);
      }, rebuild ? 0 : AFTER);
    }

    tell(answer) {
      const said = !answer ? t("common.no_answer") : answer.error ? answer.error : answer.unscored ? at.some("preferences.comes_to_unscored", answer.pairs) : t("preferences.comes_to", { pairs: answer.winners, ties: answer.ties });
      this.result.textContent = said;
      this.button.disabled = !answer?.pairs;
    }

    async build() {
      const answer = await this.ask.pref_build([this.set, this.rule]);
      if (!answer || answer.error) return void at.toast(answer?.error ?? t("common.no_answer"), "danger");
      at.toast(t("preferences.built", { pairs: answer.pairs }));
      await this.built();
    }
  }

  class PreferenceScores {
    constructor({ ask, started, built }) {
      Object.assign(this, { ask, cards: [], status: null, scoredKey: "" });
      this.scorers = new ScorerCards((names) => this.task.form.edit({ "scorers.names": names }));
      this.task = new at.PreferenceTask({
        ask, kind: "score", started,
        numbers: ({ facts }) => facts.scorers ? [[facts.scorers, t("preferences.scorers")], [facts.pictures, t("preferences.pictures")], [facts.to_do, t("preferences.to_score")]] : [],
        label: ({ facts }) => facts?.to_do ? at.some("preferences.score", facts.to_do) : "",
      });
      const mark = this.task.draw.bind(this.task);
      this.task.form.checked = (check) => { this.drawCards(check); mark(check); };
      this.rule = new PairRule({ ask, built });
      const empty = this.empty = h("p", { class: "muted", hidden: true, text: t("preferences.no_pictures_to_score") });
      this.element = h("div", { class: "pf-pane" }, h("div", { class: "pf-columns" }, h("section", { class: "step" }, h("p", { class: "muted", text: t("preferences.scores_note") }), empty, this.scorers.element, this.task.form.element), this.task.side), this.rule.element);
    }

    async open(set) {
      Object.assign(this, { status: null, scoredKey: "" });
      const cards = await this.ask.pref_scorers(0);
      if (Array.isArray(cards)) this.cards = cards;
      this.rule.open(set);
      await this.task.open(set);
    }

    drawCards(check) {
      this.scorers.show(this.cards, check?.scorers ?? [], this.status?.scored ?? {});
    }

    show(status) {
      this.status = status;
      this.empty.hidden = status.pictures > 0;
      this.task.show(status.jobs.score);
      this.drawCards(this.task.form.check);
      const key = JSON.stringify([status.name, status.scored, status.pictures]);
      if (key === this.scoredKey) return;
      this.scoredKey = key;
      this.rule.look();
    }
  }

  Object.assign(at, { PreferenceScores, ScorerChoice });
})();
