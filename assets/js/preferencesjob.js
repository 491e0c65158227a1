// What the panes share: the form of a job, and the card of the newest one.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h, icon } = at;
  const LIVE = ["queued", "starting", "running", "stopping", "paused"];

  // The form of a kind of job on one set. Settings go to the server one after another; only the answer to the last is shown.
  class PreferenceForm {
    // kind: generate, score or compare; checked(check): the answer to a change
    constructor({ ask, kind, checked }) {
      Object.assign(this, { ask, kind, checked, set: "", fields: new Map(), turn: 0, queue: Promise.resolve(), check: null });
      this.few = h("div", { class: "cp-grid" });
      this.count = h("span", { class: "count" });
      this.rest = h("div", { class: "cp-grid" });
      this.fold = h("details", { class: "cp-more" }, h("summary", {}, h("span", { text: t("captioning.more") }), this.count), this.rest);
      this.element = h("div", { class: "cp-form" }, this.few, this.fold);
    }

    async open(set) {
      for (const field of this.fields.values()) clearTimeout(field.later);
      Object.assign(this, { set, check: null, fields: new Map() });
      for (const part of [this.few, this.rest]) part.replaceChildren(); // what is typed into the old form would be lost
      const answer = set ? await this.ask.pref_form([this.kind, set]) : null;
      if (set !== this.set || !answer?.fields) return;
      this.show(answer.fields);
      await this.edit({});
    }

    show(records) {
      this.fields = new Map(records.map((record) => [record.path, new at.FormField({ ...record, form: `pf-${this.kind}` }, (path, content) => this.edit({ [path]: content }))]));
      const part = (level) => records.filter((record) => record.level === level).map(({ path }) => this.fields.get(path).element);
      this.few.replaceChildren(...part("beginner"));
      this.rest.replaceChildren(...part("expert"));
      const texts = this.fields.get("prompts.texts");
      if (texts) texts.input.rows = 5;
    }

    edit(raws) {
      const turn = ++this.turn;
      const { set } = this;
      this.queue = this.queue.then(async () => {
        const check = await this.ask.pref_edit([this.kind, set, raws]);
        if (turn !== this.turn || set !== this.set) return;
        if (!check || check.error) return void at.toast(check?.error ?? t("common.no_answer"), "danger");
        this.mark(check);
      });
      return this.queue;
    }

    mark(check) {
      this.check = check;
      for (const field of this.fields.values()) field.mark(check);
      const hidden = [...this.rest.children];
      const changed = hidden.filter((element) => element.hasAttribute("data-modified")).length;
      this.count.textContent = changed ? String(changed) : "";
      if (hidden.some((element) => element.hasAttribute("data-error"))) this.fold.open = true;
      this.checked(check);
    }

    put(path, value) {
      this.fields.get(path)?.put(value);
    }

    // Several settings at once, those without a field too.
    fill(values) {
      for (const [path, value] of Object.entries(values)) {
        const field = this.fields.get(path);
        if (field) field.input.value = field.sent = value;
      }
      return this.edit(values);
    }

    pending() {
      return Object.assign({}, ...[...this.fields.values()].map((field) => field.pending()));
    }

    // What stands in the way and has no field of its own.
    faults() {
      const errors = Object.entries(this.check?.errors ?? {});
      const elsewhere = errors.filter(([path]) => !this.fields.has(path)).map(([, message]) => message);
      const marked = errors.length > elsewhere.length ? [t("captioning.marked")] : [];
      return [...marked, ...elsewhere, ...(this.check?.blocked ? [this.check.blocked] : [])];
    }
  }

  // The newest job of its kind on the set: how far it is, and how to stop it or go on.
  class PreferenceJob {
    // acted(): something was asked of it
    constructor({ ask, acted }) {
      Object.assign(this, { ask, acted, job: null });
      this.element = h("section", { class: "pf-job", "aria-label": t("preferences.job"), hidden: true });
    }

    get live() {
      return LIVE.includes(this.job?.state);
    }

    // job: as the server tells it, or nothing
    show(job) {
      const key = JSON.stringify(job ?? null);
      if (key === this.key) return;
      const same = job && this.job && job.run === this.job.run && job.state === this.job.state;
      Object.assign(this, { key, job: job ?? null });
      this.element.hidden = !job;
      if (!job) return void this.element.replaceChildren();
      if (!same) this.build(job); // a button that is pressed stays while numbers move
      this.move(job);
    }

    build(job) {
      this.progress = h("span", { class: "bar progress", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100", data: { state: job.state } });
      this.doing = h("span");
      this.numbers = h("b");
      this.reason = h("p", { class: "cp-warning", hidden: true });
      this.element.replaceChildren(
        h("div", { class: "cp-job-head" }, at.stateChip(job.state), h("span", { class: "grow" }), h("button", { type: "button", class: "link", text: t("captioning.open_run"), onclick: () => at.go("runs", job.run) })),
        h("div", { class: "cp-progress" }, this.progress, h("span", { class: "cp-phase" }, this.doing, this.numbers)), this.reason,
        h("div", { class: "actions" }, this.actions(job)));
    }

    actions({ run, state, resumable }) {
      if (["queued", "starting", "running", "paused"].includes(state)) return at.button(t(state === "queued" ? "run.cancel" : "run.stop"), "stop", () => this.act("pref_stop", run));
      return resumable ? at.button(t("run.continue"), "play", () => this.act("pref_resume", run), "primary") : [];
    }

    move({ state, phase, detail, done, total, per_s, eta_s, elapsed_s, reason }) {
      const percent = total ? (100 * done) / total : 0;
      this.progress.setAttribute("aria-valuenow", String(Math.round(percent)));
      this.progress.style.setProperty("--part", `${percent}%`);
      this.doing.textContent = [at.words[`phase.${phase}`] ?? "", detail].filter(Boolean).join(": ");
      const pace = per_s ? (per_s >= 1 ? t("preferences.per_s", { n: at.number(per_s) }) : t("preferences.s_each", { s: at.number(1 / per_s) })) : "";
      const time = this.live ? (eta_s ? t("header.left", { time: at.time(eta_s) }) : "") : elapsed_s ? at.time(elapsed_s) : "";
      this.numbers.textContent = [total ? `${done} / ${total}` : "", this.live ? pace : "", time].filter(Boolean).join(" \u00b7 ");
      this.reason.hidden = this.live || !reason;
      if (this.reason.hidden) return;
      this.reason.className = `cp-warning ${state === "failed" ? "danger" : ["done", "stopped"].includes(state) ? "quiet" : ""}`;
      this.reason.replaceChildren(icon({ failed: "problem", done: "ok", stopped: "ok" }[state] ?? "warning"), h("span", { text: reason }));
    }

    async act(name, run) {
      const answer = await this.ask[name](run);
      const refused = !answer || answer.error;
      if (refused || answer.toast) at.toast(answer?.toast ?? answer?.error ?? t("common.no_answer"), refused ? "danger" : "");
      if (answer?.run) at.emit("started", answer.run);
      this.acted();
    }
  }

  // A form beside what it comes to: numbers, faults, Start, the command, and the newest job.
  class PreferenceTask {
    // numbers(check): [number, words] of what a job would do; label(check): of the button, "" while nothing is to do
    constructor({ ask, kind, numbers, label, started }) {
      Object.assign(this, { ask, kind, numbers, label, started });
      this.form = new PreferenceForm({ ask, kind, checked: (check) => this.draw(check) });
      this.job = new PreferenceJob({ ask, acted: () => started() });
      this.figures = h("div", { class: "numbers" });
      this.list = h("ul", { class: "checks" });
      this.button = at.button(t("preferences.start"), null, () => this.start(), "primary cp-start");
      this.button.id = `pf-${kind}-start`;
      this.command = h("pre", { class: "code wraps" });
      this.details = h("details", { class: "cp-more" }, h("summary", {}, h("span", { text: t("preferences.command") })), this.command, h("div", { class: "cp-copy" }, at.button(t("common.copy"), "copy", () => at.copy(this.command.textContent))));
      this.side = h("aside", { class: "plan pf-side" }, this.figures, this.list, this.button, this.details, this.job.element);
    }

    open(set) {
      this.check = null;
      this.figures.replaceChildren();
      this.list.replaceChildren();
      this.button.disabled = true;
      this.button.lastChild.textContent = t("preferences.start");
      return this.form.open(set);
    }

    show(job) {
      const wasLive = this.job.live;
      this.job.show(job);
      if (wasLive !== this.job.live) this.draw(this.check);
      if (wasLive && !this.job.live) this.form.edit({}); // what is to do is another number now
    }

    draw(check) {
      this.check = check;
      if (!check) return;
      const faults = this.form.faults();
      this.figures.replaceChildren(...this.numbers(check).map(([number, words]) => h("div", {}, h("b", { text: String(number) }), h("span", { text: words }))));
      this.list.replaceChildren(...faults.map((message) => h("li", { class: "problem" }, icon("problem"), h("div", {}, h("span", { text: at.sentence(message) })))));
      const label = this.label(check);
      this.button.disabled = faults.length > 0 || this.job.live || !label;
      this.button.lastChild.textContent = label || t(check.wants ? `preferences.wants_${check.wants}` : "preferences.nothing_to_do");
      this.command.textContent = check.command ?? "";
      this.details.hidden = !check.command;
    }

    async start(more = {}) {
      this.button.disabled = true;
      const answer = await this.ask.pref_start([this.kind, this.form.set, { ...this.form.pending(), ...more }]);
      if (!answer || answer.error) at.toast(answer?.error ?? t("common.no_answer"), "danger");
      else if (answer.run) {
        at.emit("started", answer.run);
        at.toast(t("preferences.started"));
      } else this.form.mark({ ...this.check, errors: answer.errors });
      this.draw(this.check);
      await this.started();
    }
  }

  Object.assign(at, { PreferenceForm, PreferenceJob, PreferenceTask });
})();
