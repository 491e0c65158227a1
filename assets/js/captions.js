// The tab that captions a data set: pictures, captioner, what is written; try-out, job, and every caption as it comes.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h } = at;
  const QUIET = ["pictures", "detail", "written"]; // what only shows something comes as nothing when it cannot be had

  at.widgets.captions = ({ root, server }) => {
    const view = new Captions(root, server);
    at.on("captions", (wish) => view.wish(wish));
    at.on("captions-edit", () => view.view.panel.edit());
    at.on("dataset-edit", () => root.getClientRects().length && view.view.panel.edit());
    at.on("dataset-grid", () => root.getClientRects().length && view.view.grid.element.focus());
    at.on("dataset-look", () => view.view.panel.look());
    at.on("tab", (tab) => tab === "captions" && view.shown());
  };

  function answering(server) {
    const quiet = (name) => async (request) => {
      const answer = await server[name](request);
      return answer?.error ? null : answer;
    };
    return new Proxy(server, { get: (_, name) => (QUIET.includes(name) ? quiet(name) : server[name]) });
  }

  class Captions {
    constructor(root, server) {
      Object.assign(this, { root, ask: answering(server), check: null, turn: 0, queue: Promise.resolve() });
      this.sets = new at.CaptionSets({ ask: this.ask, chosen: (id) => this.open(id), changed: () => this.changed() });
      this.cards = new at.CaptionCards((name) => this.choose(name));
      this.form = new at.CaptionForm((raws) => this.edit(raws), (url) => this.ask.server_models(url));
      this.trial = new at.CaptionTrial(() => this.ask.stop_trial(0).then(() => this.trials.now()));
      this.job = new at.CaptionJob({ ask: this.ask, news: (items, fresh) => this.view.news(items, fresh), ended: () => this.ended(), drawn: () => this.drawn(), settled: () => this.saveTyped() });
      this.plan = new at.CaptionPlan({ trial: this.trial, tryOut: (chosen) => this.tryOut(chosen), start: (train) => this.start(train), trainOn: () => this.trainOn() });
      this.view = new at.CaptionView({ ask: this.ask, set: () => this.sets.id, unreadable: () => new Set((this.sets.status?.bad ?? []).map(({ pid }) => pid)), job: this.job, title: (name) => this.cards.card(name)?.title ?? name, selected: () => this.drawPlan(), saved: () => this.editedByHand() });
      const step = (number, name, ...body) => h("section", { class: "step", id: `cp-${name}` }, h("header", { class: "step-heading" }, h("b", { text: String(number) }), h("h2", { text: t(`captioning.step_${name}`) }), h("p", { text: t(`captioning.step_${name}.note`) }), h("button", { type: "button", class: "link cp-unfold", text: t("captioning.unfold"), onclick: () => this.fold(false) })), ...body);
      const steps = this.steps = h("div", { class: "cp-steps" }, h("header", { class: "tab-heading" }, h("h1", { text: t("captioning.title") }), h("p", { text: t("captioning.subtitle") })),
        step(1, "pictures", this.sets.element), step(2, "captioner", this.cards.element, this.form.asking), step(3, "policy", this.form.writing));
      root.append(h("div", { class: "cp-columns" }, steps, h("aside", { class: "cp-side" }, this.job.element, this.plan.element)), this.view.element);
      this.begun = this.begin();
    }

    async begin() {
      await Promise.all([this.sets.look(), this.showForm()]);
      this.sets.now = at.poller(this.root, 3000, () => this.sets.poll()).now;
      this.jobs = at.poller(this.root, 1000, () => this.pollJob());
      this.trials = at.poller(this.root, 4000, () => this.pollTrial());
    }

    // The tab is opened again: models may have come, pictures too.
    async shown() {
      await this.begun;
      await Promise.all([this.sets.look(), this.showCards()]);
      this.view.panel.look(); // tokens are counted for the model of the draft
    }

    // ---------------------------------------------------------------- settings
    async showForm() {
      const [cards, form] = await Promise.all([this.ask.captioners(0), this.ask.caption_form(0)]);
      if (!cards || !form) return at.toast(t("common.no_answer"), "danger");
      this.cards.show(cards, form.name);
      this.form.show(form.fields);
      await this.edit({});
    }

    async showCards() {
      const cards = await this.ask.captioners(0);
      if (cards) this.cards.show(cards, this.cards.name);
    }

    async choose(name) {
      await this.edit({ ...this.form.pending(), "captioner.name": name });
      const form = await this.ask.caption_form(0);
      if (!form || form.name !== this.cards.name) return;
      this.form.show(form.fields);
      if (this.check) this.form.mark(this.check);
    }

    // Settings go to the server one after another; only the answer to the last ones is drawn.
    edit(raws) {
      const turn = ++this.turn;
      this.queue = this.queue.then(async () => {
        const check = await this.ask.caption_edit([raws, this.sets.id]);
        if (turn !== this.turn) return;
        if (!check) return void at.toast(t("common.no_answer"), "danger");
        this.check = { errors: {}, resolved: {}, modified: [], ...check };
        this.form.mark(this.check);
        this.drawPlan();
      });
      return this.queue;
    }

    drawPlan() {
      this.plan.show({ check: this.check, live: this.job.live, card: this.cards.card(), chosen: this.view.chosen().length, set: this.sets.current(), drafted: this.sets.draft, fields: this.form.fields });
    }

    // ---------------------------------------------------------------- pictures
    async open(id) {
      this.check = null;
      this.fold(false);
      await Promise.all([this.view.open(id), this.job.open(id), this.begun ? this.edit({}) : null, this.begun ? this.pollTrial() : null]);
      this.drawn();
    }

    // Captions of the set are others: by a job, in the tab of data sets, or on disk.
    async changed() {
      this.drawPlan();
      if (!this.job.live) await Promise.all([this.view.refresh(), this.edit({})]);
      else await this.view.grid.reload(true);
    }

    editedByHand() {
      clearTimeout(this.later);
      this.later = setTimeout(() => this.edit({}), 500);
    }

    // ---------------------------------------------------------------- try-out and job
    async tryOut(chosen) {
      const answer = await this.ask.try_out([this.form.pending(), this.sets.id, chosen ? this.view.chosen() : []]);
      if (!answer || answer.error) return void at.toast(answer?.error ?? t("common.no_answer"), "danger");
      this.trials.now();
    }

    async pollTrial() {
      const found = await this.ask.trial(0);
      if (!found) return 2000;
      const wasLive = this.trial.live;
      if (this.trial.show(found, this.sets.id)) this.drawPlan();
      if (wasLive && !this.trial.live) this.showCards(); // its weights are here now
      return this.trial.live ? 400 : 4000;
    }

    async start(thenTrain) {
      await this.saveTyped();
      const answer = await this.ask.start_captions([this.form.pending(), this.sets.id, thenTrain]);
      if (!answer || answer.error) return void at.toast(answer?.error ?? t("common.no_answer"), "danger");
      if (Object.keys(answer.errors).length) {
        this.check = { ...this.check, errors: answer.errors };
        this.form.mark(this.check);
        this.drawPlan();
        this.form.showFirstError();
      }
      if (!answer.run) return void at.toast(t("captioning.refused"), "danger");
      this.trial.dismiss();
      at.emit("started", answer.run);
      at.toast(t(answer.train ? "captioning.started_train" : "captioning.started"));
      await this.job.look();
      this.jobs.now();
    }

    // A caption that is being typed is a person's, whatever a job does next.
    async saveTyped() {
      this.view.panel.editor.flush();
      await this.view.panel.editor.queue;
    }

    async pollJob() {
      if (!this.job.live) await this.job.look();
      return this.job.poll();
    }

    drawn() {
      this.view.drawHead();
      const key = `${this.job.live} ${this.job.run}`;
      if (key === this.drawnKey) return;
      this.drawnKey = key;
      if (this.job.live) this.fold(true);
      this.drawPlan();
    }

    // While a job goes on its pictures stand below the first step. They stay there when it ends: nothing jumps away.
    fold(folded) {
      this.steps.toggleAttribute("data-folded", folded);
      const note = this.steps.querySelector("#cp-captioner > .step-heading p");
      note.textContent = folded ? this.cards.card()?.title ?? "" : t("captioning.step_captioner.note");
    }

    async ended() {
      await Promise.all([this.view.settle(), this.edit({}), this.showCards()]);
    }

    async trainOn() {
      const answer = await this.ask.train_on(this.sets.id);
      if (!answer || answer.error) return void at.toast(answer?.error ?? t("common.no_answer"), "danger");
      at.act("look", ""); // both forms follow
      await this.sets.look();
      this.drawPlan();
    }

    // A wish of another tab: {folder: of the draft, existing: what becomes of captions that are there}, or {run}.
    async wish({ folder = "", existing = "", run = "" }) {
      await this.begun;
      const found = run ? await this.ask.poll([run, 0]) : null;
      const answer = folder ? await this.ask.sets(0) : null;
      const set = found?.set || answer?.draft || "";
      if (set) await this.sets.look(set);
      if (folder) await this.sets.reload(); // a finding looks at the disk
      if (!existing) return;
      this.fold(false);
      this.form.put("policy.existing", existing);
    }
  }
})();
