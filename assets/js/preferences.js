// The tab of preference sets: a list at the left; of the chosen one five steps, of which one is in sight.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h, icon } = at;
  const STEPS = ["pictures", "scores", "label", "results", "proof"];

  at.widgets.preferences = ({ root, server }) => {
    const view = new Preferences(root, server);
    at.on("preferences", (wish) => view.wish(wish));
    at.on("tab", (tab) => tab === "preferences" && view.shown());
  };

  class Preferences {
    constructor(root, server) {
      Object.assign(this, { root, ask: server, status: null, name: "", step: "" });
      const started = () => this.polling?.now();
      this.sets = new at.PreferenceSets({ ask: server, chosen: (name) => this.open(name) });
      this.panes = {
        pictures: new at.PreferencePictures({ ask: server, started }),
        scores: new at.PreferenceScores({ ask: server, started, built: () => this.built() }),
        label: new at.PreferenceLabel({ ask: server, vote: (order) => this.vote(this.name, order), build: () => this.show("scores") }),
        results: new at.PreferenceResults({ ask: server, label: () => this.show("label") }),
        proof: new at.PreferenceProof({ ask: server, started, label: (set) => this.vote(set) }),
      };
      this.voter = new at.PreferencesVote({ ask: server, onleave: () => this.leave(), ontrain: () => { this.leave(); this.show("results"); } });
      this.cover = h("div", { class: "pf-cover", hidden: true }, this.voter.element);
      this.title = h("h1");
      this.facts = h("p", { class: "muted" });
      this.tabs = h("div", { class: "pf-steps", role: "tablist", "aria-label": t("preferences.steps"), onkeydown: (event) => this.onKey(event) }, STEPS.map((step, index) => this.tab(step, index)));
      this.body = h("div", { class: "pf-body" }, Object.values(this.panes).map((pane) => pane.element));
      this.main = h("div", { class: "pf-main", hidden: true }, h("header", { class: "tab-heading" }, this.title, this.facts), this.tabs, this.body);
      this.none = h("div", { class: "empty large", hidden: true }, icon("preferences"), h("p", { text: t("preferences.empty") }), at.button(t("preferences.first"), "plus", () => this.sets.askNew(), "primary"));
      root.append(h("div", { class: "pf-layout" }, this.sets.element, this.main, this.none), this.cover);
      this.begun = this.begin();
    }

    async begin() {
      await this.sets.look();
      this.polling = at.poller(this.root, 3000, () => this.poll());
    }

    async shown() {
      await this.begun;
      await this.sets.look();
    }

    tab(step, index) {
      return h("button", { type: "button", class: "pf-step", role: "tab", id: `pf-tab-${step}`, "aria-selected": "false", data: { step }, onclick: () => this.show(step) }, h("b", { text: String(index + 1) }), h("span", { class: "pf-step-name", text: t(`preferences.step_${step}`) }), h("span", { class: "pf-step-count" }));
    }

    onKey(event) {
      const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!move) return;
      event.preventDefault();
      this.show(STEPS[(STEPS.indexOf(this.step) + move + STEPS.length) % STEPS.length]);
      this.tabs.querySelector("[aria-selected=true]").focus();
    }

    async open(name) {
      Object.assign(this, { name, status: null });
      this.main.hidden = !name;
      this.none.hidden = Boolean(name);
      if (!name) return;
      this.title.textContent = name;
      this.facts.textContent = "";
      const opened = Promise.all(Object.values(this.panes).map((pane) => pane.open(name))); // at once: forms of another set must not take what is typed
      const status = await this.ask.pref_open(name);
      if (name !== this.name) return;
      const kept = at.load(`preference-step-${name}`);
      this.step = "";
      this.show(STEPS.includes(kept) ? kept : status?.pairs ? "label" : "pictures", false);
      await opened;
      if (name === this.name) this.take(status);
    }

    show(step, keep = true) {
      this.step = step;
      if (keep) at.save(`preference-step-${this.name}`, step);
      for (const button of this.tabs.children) {
        const chosen = button.dataset.step === step;
        button.setAttribute("aria-selected", String(chosen));
        button.tabIndex = chosen ? 0 : -1;
        if (chosen) button.scrollIntoView({ block: "nearest", inline: "nearest" });
      }
      for (const [name, pane] of Object.entries(this.panes)) pane.element.hidden = name !== step;
      if (this.status) this.panes[step].show(this.status);
    }

    // Returns the milliseconds until the next question.
    async poll() {
      const { name } = this;
      if (this.sets.importing === "running") await this.sets.look();
      if (!name) {
        await this.sets.look(); // one may have come by the command line
        return 4000;
      }
      const status = await this.ask.pref_open(name);
      if (!status || name !== this.name) return 2000;
      if (status.error) { // it is gone
        Object.assign(this.sets, { name: "", known: false });
        await this.sets.look();
        return 3000;
      }
      const changed = this.status?.rev !== status.rev;
      this.take(status);
      if (changed) await this.sets.look();
      return Object.values(status.jobs).some((job) => ["queued", "starting", "running", "stopping", "paused"].includes(job?.state)) ? 700 : 3000;
    }

    take(status) {
      if (!status || status.error) return;
      this.status = status;
      this.facts.textContent = [at.some("preferences.n_prompts", status.prompts), at.some("preferences.n_pictures", status.pictures), ...Object.keys(status.bases)].join(" \u00b7 ");
      const scorers = Object.keys(status.scored).length;
      this.count("pictures", status.pictures || "");
      this.count("scores", scorers ? at.some("preferences.n_scorers", scorers) : "");
      this.count("label", status.pairs ? at.some("preferences.n_pairs", status.pairs) : "");
      this.count("results", status.votes ? at.some("preferences.n_votes", status.votes) : "");
      const rate = status.comparisons[0]?.[1] ?? null;
      this.count("proof", rate === null ? "" : `${Math.round(100 * rate)} %`);
      const live = { pictures: "generate", scores: "score", proof: "compare" };
      for (const [step, kind] of Object.entries(live)) this.tabs.querySelector(`[data-step=${step}]`).toggleAttribute("data-live", ["running", "starting", "stopping"].includes(status.jobs[kind]?.state));
      this.panes[this.step].show(status);
    }

    count(step, text) {
      this.tabs.querySelector(`[data-step=${step}] .pf-step-count`).textContent = text;
    }

    async built() {
      this.polling.now();
      this.show("label");
    }

    // The voting page fills the window until it is left.
    vote(set, order) {
      document.activeElement?.blur(); // keys belong to the pictures; a dialog that closes must not hand Enter back to the button
      this.cover.hidden = false;
      document.body.classList.add("pf-voting");
      this.voter.open(set, { order });
    }

    leave() {
      this.voter.close();
      this.cover.hidden = true;
      document.body.classList.remove("pf-voting");
      this.polling?.now();
    }

    // A wish of another tab: {run} of a job on a set, or of a run that was trained on one and can be compared.
    async wish({ run = "" }) {
      await this.begun;
      const found = run ? await this.ask.pref_find(run) : null;
      if (!found?.set) return void (found && at.toast(t("preferences.no_set_of_run"), "danger"));
      if (found.set === this.name) await this.sets.look();
      else await this.sets.look(found.set);
      this.show({ generate: "pictures", score: "scores" }[found.kind] ?? "proof");
      if (found.kind === "train") await this.panes.proof.prepare(found.path, Object.keys(this.status?.scored ?? {}));
    }
  }
})();
