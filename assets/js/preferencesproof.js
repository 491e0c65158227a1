// Step 5: whether training helped: the trained model against its reference, on prompts that it never saw.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h, icon } = at;

  const percent = (share) => `${Math.round(100 * share)} %`;

  // The share of wins as one sentence, and how sure it is.
  function verdict({ win_rate: rate, low, high }) {
    if (rate === null) return ["warning", t("preferences.proof_none")];
    if (low > 0.5) return ["ok", t("preferences.proof_better", { percent: percent(rate) })];
    if (high < 0.5) return ["problem", t("preferences.proof_worse", { percent: percent(rate) })];
    return ["warning", t("preferences.proof_open", { percent: percent(rate) })];
  }

  class PreferenceProof {
    // label(set): the voting page of that set
    constructor({ ask, started, label }) {
      Object.assign(this, { ask, label, set: "", key: "", pairs: new Map() });
      this.task = new at.PreferenceTask({
        ask, kind: "compare", started,
        numbers: ({ facts }) => facts.prompts ? [[facts.prompts, t("preferences.prompts")], [facts.to_do, t("preferences.to_draw")], [facts.scorers, t("preferences.scorers")]] : [],
        label: ({ facts }) => facts?.prompts ? t("preferences.compare") : "",
      });
      this.scorers = new at.ScorerChoice((names) => this.task.form.edit({ "scorers.names": names }));
      const mark = this.task.form.checked;
      this.task.form.checked = (check) => { this.scorers.show(check.scorers); mark(check); };
      this.results = h("div", { class: "pf-pane" });
      this.held = at.button("", null, () => this.task.form.put("prompts.texts", this.heldOut.join("\n")));
      this.heldLine = h("p", { class: "pf-held" }, this.held);
      this.element = h("div", { class: "pf-pane" }, this.results, h("div", { class: "pf-columns" }, h("section", { class: "step" }, h("p", { class: "muted", text: t("preferences.proof_note") }), this.heldLine, this.scorers.element, this.task.form.element), this.task.side));
    }

    async open(set) {
      Object.assign(this, { set, key: "", heldOut: [] });
      this.results.replaceChildren();
      this.heldLine.hidden = true;
      this.scorers.offer(await this.ask.pref_scorers(0));
      await this.task.open(set);
    }

    show(status) {
      this.task.show(status.jobs.compare);
      const key = JSON.stringify([status.name, status.comparisons, status.rev]);
      if (key === this.key) return;
      this.key = key;
      this.look();
    }

    // A trained run to compare: what is left open follows from that run, and from the set.
    async prepare(policy, scorers) {
      const { form } = this.task;
      const wanted = { "policy.file": policy };
      if (!form.check?.scorers?.length && scorers.length) wanted["scorers.names"] = scorers;
      await form.fill(wanted);
    }

    async look() {
      const { set } = this;
      const answer = await this.ask.pref_proof(set);
      if (!answer?.comparisons || set !== this.set) return;
      this.heldOut = answer.held_out;
      this.heldLine.hidden = !this.heldOut.length;
      this.held.lastChild.textContent = at.some("preferences.use_held_out", this.heldOut.length);
      this.results.replaceChildren(...answer.comparisons.map((one) => this.card(one)));
    }

    card({ run, name, result, set }) {
      const [iconName, words] = verdict(result);
      const scorers = Object.entries(result.scorers ?? {}).map(([scorer, found]) => at.intervalBar(this.share(found), scorer));
      const human = result.human?.n ? [at.intervalBar(this.share(result.human), t("preferences.people"))] : [];
      const samples = h("div", { class: "pf-samples" });
      const show = at.button(t("preferences.side_by_side"), "pictures", () => this.sideBySide(run, samples, show));
      show.hidden = !set;
      return h("section", { class: "step pf-proof", data: { run } },
        h("header", { class: "step-heading" }, h("h2", { text: t("preferences.versus", { policy: result.policy, reference: result.reference || t("preferences.base_alone") }) }), h("span", { class: "grow" }), h("button", { type: "button", class: "link", text: name, onclick: () => at.go("runs", run) })),
        h("p", { class: `pf-verdict pf-${iconName}` }, icon(iconName), h("strong", { text: words })),
        result.n ? at.intervalBar(this.share(result), t("preferences.all_scorers")) : null,
        result.n ? h("p", { class: "muted", text: t("preferences.wins", { wins: result.wins, losses: result.losses, ties: result.ties, n: result.n }) }) : null,
        h("div", { class: "pf-intervals" }, scorers, human),
        h("ul", { class: "checks" }, this.notes(result).map(([kind, text]) => h("li", { class: kind }, icon(kind), h("div", {}, h("span", { text }))))),
        h("div", { class: "actions" }, show, set ? at.button(t("preferences.label_blind"), "preferences", () => this.label(set)) : null), samples);
    }

    // What one should know before believing the number.
    notes({ trained_on: trained, held_out: held, prompts, adherence, identical }) {
      const found = [];
      if (trained) found.push(["warning", at.some("preferences.proof_trained_on", trained)]);
      else if (held === prompts) found.push(["ok", t("preferences.proof_held_out")]);
      if (adherence) {
        const { reference, policy, difference_high: high } = adherence;
        found.push([high !== null && high < 0 ? "warning" : "ok", t("preferences.proof_adherence", { reference: percent(reference), policy: percent(policy) })]);
      }
      if (identical) found.push(["warning", at.some("preferences.proof_identical", identical)]);
      return found;
    }

    share({ win_rate: share, low, high, n }) {
      return { share: share ?? null, low, high, n };
    }

    async sideBySide(run, place, button) {
      button.hidden = true;
      const rows = await this.ask.pref_samples(run);
      if (!Array.isArray(rows)) return void (button.hidden = false);
      place.replaceChildren(h("div", { class: "pf-sample pf-sample-head" }, h("span", { text: t("preferences.reference") }), h("span", { text: t("preferences.policy") })),
        ...rows.map(({ prompt, reference, policy }) => {
          const picture = ([thumb], index) => h("button", { type: "button", class: "pf-thumb", "aria-label": prompt, onclick: () => at.lookAtPicture(prompt, [reference, policy].map((one) => ["", one[0], one[1], {}]), index) }, h("img", { src: thumb, alt: "", loading: "lazy" }));
          return h("div", { class: "pf-sample" }, picture(reference, 0), picture(policy, 1), h("p", { text: prompt }));
        }));
    }
  }

  at.PreferenceProof = PreferenceProof;
})();
