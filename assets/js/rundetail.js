// One run: what it does, its plots, previews, log, configuration and files. Polls while it can be seen.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h, icon } = at;
  const LIVE = ["queued", "starting", "running", "stopping", "paused"];
  const CAN_GO_ON = ["interrupted", "failed", "stopped"];
  const OF_SETS = ["generate", "score", "compare"]; // jobs of the tab of preferences
  at.isOfPictures = (kind) => kind === "caption" || OF_SETS.includes(kind); // their steps are pictures; there is nothing to plot

  at.widgets.rundetail = ({ root, server }) => {
    const view = new Detail(server);
    root.append(view.element);
    at.on("run", (id) => view.open(id));
    at.on("deleted", () => view.close());
    at.poller(root, 1000, () => view.poll());
    at.poller(view.lower.element, 1500, () => view.lower.poll());
    view.test.look = at.poller(view.test.element, 1000, () => view.test.poll()).now;
  };

  class Detail {
    constructor(server) {
      Object.assign(this, { server, pause: 1000, id: null, state: null, rev: null, sampleCount: -1 });
      this.head = h("header", { class: "run-head" });
      this.reason = h("div", { class: "reason", hidden: true });
      this.charts = new at.Charts();
      this.charts.pairs.onCompare = () => this.toPreferences();
      this.samples = new at.Samples();
      this.test = new at.RunTest(server);
      this.lower = new at.RunFiles(server, () => this.detail);
      this.content = h("div", { class: "run-detail", hidden: true }, this.head, this.reason, this.charts.element, this.samples.element, this.test.element, this.lower.element);
      this.placeholder = h("div", { class: "empty large" }, h("i", { class: "drawing drawing-curve", "aria-hidden": "true" }), h("p", { text: t("runs.choose") }));
      this.element = h("div", {}, this.placeholder, this.content);
    }

    async open(id) {
      if (id === this.id) return;
      this.close();
      this.id = id;
      await this.refresh();
      await this.poll();
    }

    close() {
      Object.assign(this, { id: null, detail: null, state: null, rev: null, sampleCount: -1, answer: null });
      this.charts.clear();
      this.charts.draw();
      this.samples.clear();
      this.test.clear();
      this.lower.clear();
      this.content.hidden = true;
      this.placeholder.hidden = false;
    }

    // Everything but the points: read when the run is opened and when its state or its files change.
    async refresh() {
      const id = this.id;
      const detail = await this.server.detail(id);
      if (id !== this.id) return;
      if (!detail) return this.close();
      this.detail = detail;
      for (const part of [this.charts, this.samples]) part.element.hidden = at.isOfPictures(detail.summary.kind);
      this.charts.pairs.compare.hidden = detail.summary.state !== "done" || !detail.files.length;
      this.charts.name = detail.summary.name;
      this.content.hidden = false;
      this.placeholder.hidden = true;
      this.lower.show(detail);
      this.test.show(detail);
    }

    // Returns the milliseconds until the next question.
    async poll() {
      if (!this.id || this.polling) return 500;
      this.polling = true;
      try {
        return await this.ask();
      } finally {
        this.polling = false;
      }
    }

    async ask() {
      const id = this.id;
      const answer = await this.server.poll([id, this.charts.length]);
      if (!answer || id !== this.id || !this.detail) return 2000;
      if (!answer.run) return this.close();
      const stale = this.rev !== null && answer.rev !== this.rev; // points that the page has went away: from the start
      this.rev = answer.rev;
      if (stale || answer.from !== this.charts.length) {
        this.charts.clear();
        if (answer.from !== 0) return 0;
      }
      if (LIVE.includes(answer.state) && !this.charts.use.x.length) {
        const use = await this.server.use(id); // what happened before the page was opened
        if (id !== this.id) return 0;
        for (const point of use ?? []) this.charts.addUse(...point);
      }
      this.charts.add(answer.points);
      this.charts.addRest(answer);
      this.charts.draw();
      this.answer = answer;
      const marks = this.charts.marks.size;
      const moved = answer.state !== this.state || marks !== this.markCount;
      Object.assign(this, { state: answer.state, markCount: marks });
      if (moved) await this.refresh();
      if (answer.samples !== this.sampleCount) {
        const list = await this.server.samples(id);
        if (id !== this.id) return 0;
        if (list) {
          this.sampleCount = answer.samples;
          this.samples.set(list);
        }
      }
      this.drawHead();
      if (answer.more) return 0;
      // fast runs are asked more often, so that an answer stays near 15 points (1 kB)
      this.pause = Math.min(1000, Math.max(200, (this.pause * 15) / Math.max(1, answer.points.length)));
      return LIVE.includes(answer.state) ? this.pause : 5000;
    }

    drawHead() {
      const { answer, detail } = this;
      if (!detail || !answer) return;
      const key = JSON.stringify([answer.state, answer.phase, answer.detail, answer.step, answer.total, answer.eta_s, answer.sps, answer.reason, answer.measured]);
      if (key === this.headKey && this.head.dataset.run === this.id) return;
      this.headKey = key;
      this.head.dataset.run = this.id;
      const live = LIVE.includes(answer.state);
      const { state } = answer;
      const percent = answer.total ? (100 * answer.step) / answer.total : 0;
      const phase = live && answer.phase && state !== "paused" ? [t(`phase.${answer.phase}`), answer.detail].filter(Boolean).join(": ") : "";
      const { kind } = detail.summary;
      const pictures = at.isOfPictures(kind);
      const facts = [
        [t(pictures ? (kind === "score" ? "run.scores" : "run.pictures") : "run.step"), answer.total ? `${answer.step} / ${answer.total}` : "-"],
        [live ? t("run.left") : t("run.took"), at.time(live ? answer.eta_s : answer.elapsed_s)],
        [t("run.speed"), answer.sps ? this.pace(kind, answer.sps) : "-"],
        pictures ? null : [t("run.loss"), at.number(this.charts.data.loss.at(-1))],
        this.charts.val.y.length ? [t("run.val"), at.number(this.charts.val.y.at(-1))] : null,
        ...Object.entries(answer.measured).map(([name, percents]) => [at.words[`measured.${name}`] ?? name, percents.map((percent) => `${percent} %`).join(" \u2192 "), t("run.measured")]),
      ].filter(Boolean);
      this.head.replaceChildren(
        h("div", { class: "run-title" }, h("h1", { text: detail.summary.name }), at.stateChip(state), h("span", { class: "muted", text: phase || detail.summary.model }), h("span", { class: "grow" }), h("div", { class: "actions" }, pictures ? this.jobActions(state) : this.actions(state))),
        h("div", { class: "bar progress", role: "progressbar", "aria-valuenow": String(Math.round(percent)), "aria-valuemin": "0", "aria-valuemax": "100", data: { state: answer.state }, style: { "--part": `${percent}%` } }),
        h("dl", { class: "facts-row" }, facts.map(([name, value, title]) => h("div", { title }, h("dt", { text: name }), h("dd", { text: value })))),
      );
      this.drawReason(answer);
    }

    drawReason(answer) {
      this.reason.hidden = LIVE.includes(answer.state) || !answer.reason;
      this.reason.dataset.state = answer.state;
      if (this.reason.hidden) return;
      this.reason.replaceChildren(icon({ failed: "problem", done: "ok" }[answer.state] ?? "warning"), h("div", {}, h("strong", { text: answer.reason }), this.detail.summary.hint && !answer.reason.includes(this.detail.summary.hint) ? h("p", { text: this.detail.summary.hint }) : null));
    }

    actions(state) {
      const command = (name, label, iconName) => {
        const made = at.button(label, iconName, () => this.send(name));
        made.dataset.command = name;
        return made;
      };
      if (state === "queued") return [at.button(t("run.cancel"), "stop", () => this.call("cancel", this.id))];
      if (state === "running") return [command("sample", t("run.sample_now"), "picture"), command("save", t("run.save_now"), "save"), command("pause", t("run.pause"), "pause"), command("stop", t("run.stop"), "stop")];
      if (state === "paused") return [command("resume", t("run.go_on"), "play"), command("stop", t("run.stop"), "stop")];
      if (state === "starting") return [command("stop", t("run.stop"), "stop")];
      if (state === "stopping") return [];
      const resume = CAN_GO_ON.includes(state) ? at.button(t(at.isOfPictures(this.detail.summary.kind) ? "run.continue" : "run.resume"), "play", () => this.resume(), "primary") : null;
      return [resume, at.button(t("run.delete"), "delete", () => this.askDelete(), "danger-quiet")].filter(Boolean);
    }

    // s: seconds of a step, or of a picture
    pace(kind, s) {
      if (!at.isOfPictures(kind)) return t("run.s_per_step", { s: +s.toPrecision(3) });
      if (s > 1) return t("run.s_per_picture", { s: +s.toPrecision(3) });
      return t(kind === "score" ? "run.scores_per_s" : "run.per_s", { n: +(1 / s).toPrecision(3) });
    }

    // A job on pictures has nothing to sample or to save; what it made is in the tab that it was started in.
    jobActions(state) {
      const kept = this.actions(state).filter((made) => !["sample", "save", "pause"].includes(made.dataset.command));
      if (OF_SETS.includes(this.detail.summary.kind)) return [at.button(t("run.open_preferences"), "preferences", () => this.toPreferences()), ...kept];
      return [at.button(t("run.open_captions"), "caption", () => { at.emit("captions", { run: this.id }); at.go("captions"); }), ...kept];
    }

    // The set that the run is about: of a job, where it was started; of a trained run, where it can be compared.
    toPreferences() {
      at.emit("preferences", { run: this.id });
      at.go("preferences");
    }

    send(name) {
      return this.call("command", [this.id, name]);
    }

    async call(name, argument) {
      const answer = await this.server[name](argument);
      at.toast(answer?.toast ?? answer?.error ?? t("common.no_answer"), answer?.toast !== undefined ? "" : "danger");
      await this.poll();
      return answer;
    }

    async resume() {
      const answer = await this.server.resume(this.id);
      if (!answer?.run) return at.toast(answer?.error || t("common.no_answer"), "danger");
      at.emit("started", answer.run);
      if (answer.run !== this.id) return at.go("runs", answer.run);
      await this.poll();
    }

    askDelete() {
      const { name, kind } = this.detail.summary;
      at.dialog(t("run.delete_title", { name }), h("p", { text: t(kind === "caption" ? "run.delete_note_caption" : OF_SETS.includes(kind) ? "run.delete_note_preferences" : "run.delete_note") }), [
        [t("common.cancel"), ""],
        [t("run.delete"), "danger", async () => {
          const answer = await this.call("delete", [this.id, name]);
          if (answer?.toast !== undefined) at.emit("deleted", this.id);
        }],
      ]);
    }
  }
})();
