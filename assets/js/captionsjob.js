// The newest job of the set: how far it is, what it wrote, and how to stop it, go on, or take all of it back.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h, icon } = at;
  const LIVE = ["queued", "starting", "running", "stopping", "paused"];
  const PAUSE = 500; // milliseconds between questions while it goes on
  const IDLE = 4000;

  class CaptionJob {
    // ask: the server; news(items, fresh: written this moment): pictures that are new; ended(): it goes on no longer; drawn(): something of it changed;
    // settled(): a caption that is being typed is saved
    constructor({ ask, news, ended, drawn, settled }) {
      Object.assign(this, { ask, news, ended, drawn, settled, set: "", run: "", answer: null, items: [], byPid: new Map() });
      this.parts = { head: h("div", { class: "cp-job-head" }), rest: h("div", { class: "cp-job-rest" }), failed: h("div", { class: "cp-job-rest" }), actions: h("div", { class: "actions" }) };
      this.element = h("section", { class: "plan cp-job", "aria-label": t("captioning.job"), hidden: true }, Object.values(this.parts));
    }

    get live() {
      return LIVE.includes(this.answer?.state);
    }

    // Another set: its newest job.
    async open(set) {
      this.clear();
      this.set = set;
      this.element.hidden = true;
      await this.look();
    }

    clear(run = "") {
      Object.assign(this, { run, answer: null, items: [], byPid: new Map(), known: false });
    }

    // Whether there is a newer job, as one that another page has started.
    async look() {
      const { set } = this;
      const found = set ? await this.ask.latest(set) : null;
      if (!found || set !== this.set || found.error) return;
      if (found.run === this.run) return;
      this.clear(found.run ?? "");
      this.news([], false);
      await this.poll();
    }

    // Returns the milliseconds until the next question. One question at a time: two would bring the same pictures.
    async poll() {
      if (this.asking) return PAUSE;
      this.asking = true;
      try {
        return await this.question();
      } finally {
        this.asking = false;
      }
    }

    async question() {
      const { run } = this;
      if (!run) {
        this.draw();
        return IDLE;
      }
      const wasLive = this.live;
      const answer = await this.ask.poll([run, this.items.length]);
      if (!answer || run !== this.run) return 1000;
      if (answer.error || !answer.run) { // it was deleted
        this.clear();
        this.draw();
        return IDLE;
      }
      if (answer.from !== this.items.length) { // it began anew
        Object.assign(this, { items: [], byPid: new Map() });
        if (answer.from) return 0;
      }
      this.answer = answer;
      for (const item of answer.items) this.byPid.set(item[0], item);
      this.items.push(...answer.items);
      this.news(answer.items, this.known && this.live);
      this.known ||= !answer.more; // what was written before the page asked may have been edited since
      this.draw();
      if (wasLive && !this.live) await this.ended();
      if (answer.more) return 0;
      return this.live ? PAUSE : IDLE;
    }

    // [pid, name, status, before, after, reason] of a picture; nothing for one that the job has not seen.
    of(pid) {
      return this.answer?.undone ? undefined : this.byPid.get(pid);
    }

    // Of each picture its last item, the newest first. status: "" for all.
    newest(status) {
      const last = [...this.byPid.values()].reverse();
      return status ? last.filter((item) => item[2] === status) : last;
    }

    draw() {
      const { answer } = this;
      this.element.hidden = !answer;
      this.drawn();
      if (!answer) return;
      const { state, run, failed, failed_list: list, resumable, undone, can_undo: canUndo } = answer;
      this.part("head", [state, run], () => this.head(answer));
      this.part("rest", [answer.done, answer.total, answer.phase, answer.detail, answer.per_s, answer.eta_s, state, undone, failed, answer.written, answer.skipped, answer.reason], () => [this.live ? this.progress(answer) : null, this.counts(answer), this.reason(answer)]);
      this.part("failed", [failed, list.length], () => [this.failed(answer)]);
      this.part("actions", [state, resumable, undone, canUndo], () => this.actions(answer));
    }

    // Each part is drawn when it changes: a button that is pressed, or a list that is open, stays while numbers move.
    part(name, parts, make) {
      const key = JSON.stringify(parts);
      if (this.parts[name].dataset.key === key) return;
      this.parts[name].dataset.key = key;
      this.parts[name].replaceChildren(...make().filter(Boolean));
    }

    head({ state, run }) {
      return [h("h2", { text: t("captioning.job") }), at.stateChip(state), h("span", { class: "grow" }), h("button", { type: "button", class: "link", text: t("captioning.open_run"), onclick: () => at.go("runs", run) })];
    }

    progress({ state, phase, detail, done, total, per_s, eta_s }) {
      const percent = total ? (100 * done) / total : 0;
      const doing = [at.words[`phase.${phase}`] ?? "", detail].filter(Boolean).join(": ");
      const facts = [total ? `${done} / ${total}` : "", per_s ? t("captioning.per_s", { n: at.number(per_s) }) : "", eta_s ? t("header.left", { time: at.time(eta_s) }) : ""];
      return h("div", { class: "cp-progress" },
        h("span", { class: "bar progress", role: "progressbar", "aria-valuenow": String(Math.round(percent)), "aria-valuemin": "0", "aria-valuemax": "100", data: { state }, style: { "--part": `${percent}%` } }),
        h("span", { class: "cp-phase" }, h("span", { text: doing }), h("b", { text: facts.filter(Boolean).join(" \u00b7 ") })));
    }

    counts({ written, skipped, failed, undone }) {
      const part = (name, n, iconName) => h("span", { class: `cp-count cp-${name}`, data: { n: String(n) } }, icon(iconName), h("span", { text: t(`captioning.n_${name}`, { n }) }));
      return h("p", { class: "cp-counts-row" }, part("written", written, "edit"), part("skipped", skipped, "right"), part("failed", failed, "problem"), undone ? h("span", { class: "cp-count" }, icon("undo"), h("span", { text: t("captioning.undone") })) : null);
    }

    // Why it ended, where that is more than the numbers above.
    reason({ state, reason: told, summary }) {
      const reason = state === "stopped" ? t("captioning.stopped") : told === summary ? "" : told;
      return reason && !this.live ? h("p", { class: `cp-warning ${state === "failed" ? "danger" : "quiet"}` }, icon({ failed: "problem", done: "ok", stopped: "ok" }[state] ?? "warning"), h("span", { text: reason })) : null;
    }

    failed({ failed, failed_list: list }) {
      if (!failed) return null;
      const more = failed - list.length;
      return h("details", { class: "cp-more", open: this.parts.failed.querySelector("details")?.open || null }, h("summary", {}, h("span", { text: at.some("captioning.failed_pictures", failed) })),
        h("ul", { class: "cp-failed-list" }, list.map(([name, reason]) => h("li", {}, h("strong", { text: name }), h("span", { text: at.sentence(reason) }))), more > 0 ? h("li", { class: "muted", text: `+${more}` }) : null));
    }

    actions({ state, resumable, can_undo: canUndo, undone }) {
      const made = (id, label, iconName, act, kind = "") => Object.assign(at.button(label, iconName, act, kind), { id });
      if (this.live) return state === "stopping" ? [] : [made("cp-stop", t(state === "queued" ? "run.cancel" : "run.stop"), "stop", () => this.stop())];
      return [
        resumable && !undone ? made("cp-resume", t("captioning.go_on"), "play", () => this.resume()) : null,
        canUndo && !undone ? made("cp-undo", t("captioning.undo_all"), "undo", () => this.turn("undo")) : null,
        undone ? made("cp-redo", t("captioning.redo_all"), "redo", () => this.turn("redo")) : null,
      ].filter(Boolean);
    }

    async stop() {
      const answer = await this.ask.stop_job(this.run);
      at.toast(answer?.toast ?? answer?.error ?? t("common.no_answer"), answer?.toast !== undefined ? "" : "danger");
      await this.poll();
    }

    async resume() {
      await this.settled();
      const answer = await this.ask.resume_job(this.run);
      if (!answer?.run) return at.toast(answer?.error || t("common.no_answer"), "danger");
      at.emit("started", answer.run);
      if (answer.run !== this.run) this.clear(answer.run);
      await this.poll();
    }

    // All that the job wrote, back or again: what it did, and what a person had changed meanwhile.
    async turn(way) {
      await this.settled();
      const answer = await this.ask[`${way}_job`](this.run);
      if (!answer || answer.error) return void at.toast(answer?.error ?? t("common.no_answer"), "danger");
      this.toast?.remove();
      const left = answer.skipped.length ? ` ${t("dataset.skipped", { n: answer.skipped.length, name: answer.skipped[0][0], reason: answer.skipped[0][1] })}` : "";
      const back = way === "undo" ? ["captioning.redo_all", "redo"] : ["captioning.undo_all", "undo"];
      this.toast = at.toast(t(`captioning.did_${way}`, { files: at.some("dataset.files", answer.done) }) + left, left ? "danger" : "", answer.done ? [t(back[0]), () => this.turn(back[1])] : null);
      await this.poll();
      await this.ended();
    }
  }

  at.CaptionJob = CaptionJob;
})();
