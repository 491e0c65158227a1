// Tests of a run's adapter: a prompt at several strengths, drawn by a process of its own. Pictures appear one by one.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h, icon } = at;
  const WORKING = ["waiting", "loading", "drawing"];
  const SEEDS = 1_000_000_000; // of the dice: easy to read, and more than anybody looks at

  class RunTest {
    constructor(server) {
      this.server = server;
      this.status = h("div", { class: "test-status", role: "status" });
      this.place = h("div");
      this.list = h("div", { class: "trials" });
      this.element = h("section", { class: "samples tests", hidden: true }, h("div", { class: "plot-bar" }, h("h2", { text: t("test.title") }), h("span", { class: "grow" }), this.status), this.place, this.list);
      this.clear();
    }

    clear() {
      Object.assign(this, { id: null, wanted: null, form: null, seen: "", drawn: new Map() });
      delete this.status.dataset.key;
      this.place.replaceChildren();
      this.list.replaceChildren();
      this.status.replaceChildren();
      this.element.hidden = true;
    }

    // The panel is there as soon as the run has a file; a form that somebody types in stays as it is.
    async show(detail) {
      const { id, name } = detail.summary;
      if (!detail.files.length || this.wanted === id) return;
      Object.assign(this, { name, wanted: id });
      const panel = await this.server.test_panel(id);
      const trials = panel && await this.server.test_list(id);
      if (this.wanted !== id) return;
      if (!trials) {
        this.wanted = null; // not yet, or no answer: asked again when the run has moved
        return;
      }
      this.id = id;
      this.form = new at.TestForm({ ...panel, ...trials[0]?.settings }, (settings) => this.call("test_draw", [this.id, settings]));
      this.place.replaceChildren(this.form.element);
      this.element.hidden = false;
      this.setList(trials);
    }

    async poll() {
      const { id } = this;
      if (!id) return 500;
      const answer = await this.server.test_poll(id);
      if (!answer || id !== this.id) return 2000;
      this.setStatus(answer);
      const seen = `${id} ${answer.mark} ${answer.tester}`;
      if (seen !== this.seen) {
        const trials = await this.server.test_list(id);
        if (!trials || id !== this.id) return 1000;
        this.seen = seen;
        this.setList(trials);
      }
      return answer.tester === "on" ? 700 : 3000;
    }

    setStatus({ tester, busy, why }) {
      const key = JSON.stringify([tester, busy, why]);
      if (key === this.status.dataset.key) return;
      this.status.dataset.key = key;
      this.form.setBusy(busy);
      const free = h("button", { type: "button", class: "link", text: t("test.free"), onclick: () => this.call("test_stop", this.id) });
      const said = {
        busy: () => [icon("warning"), h("span", { text: t("test.busy") })],
        gone: () => [icon("warning"), h("span", { title: why, text: t("test.gone") })],
        on: () => [h("span", { text: t("test.on") }), free],
        off: () => [],
      }[busy ? "busy" : tester]();
      this.status.replaceChildren(...said);
    }

    // A refusal is told; either way the list is read anew.
    async call(name, argument) {
      const answer = await this.server[name](argument);
      if (!answer || answer.error) at.toast(answer?.error ?? t("common.no_answer"), "danger");
      this.seen = "";
      this.look();
    }

    // Only what changed is made anew, so that pictures neither blink nor jump.
    setList(trials) {
      const before = this.drawn;
      this.drawn = new Map(trials.map((trial) => {
        const key = JSON.stringify(trial);
        const old = before.get(trial.id);
        return [trial.id, old?.key === key ? old : { key, element: this.trial(trial) }];
      }));
      this.list.replaceChildren(...[...this.drawn.values()].map(({ element }) => element));
    }

    trial(trial) {
      const { settings, pictures } = trial;
      const facts = [settings.file, `${t("run.seed")} ${settings.seed}`, `${settings.width} \u00d7 ${settings.height}`, t("test.n_steps", { n: settings.steps }), t("test.guided", { n: at.number(settings.guidance) }), at.when(settings.asked)].filter(Boolean);
      const whole = trial.sheet_url || (pictures.length === 1 && pictures[0].url);
      return h("article", { class: "trial", data: { trial: trial.id, state: trial.state } },
        h("header", { class: "trial-head" },
          h("div", { class: "trial-text" }, h("p", { class: "trial-prompt", title: settings.prompt, text: settings.prompt || t("test.no_prompt") }), h("p", { class: "muted", text: facts.join(", ") })),
          h("div", { class: "actions" },
            at.iconButton(t("test.reuse"), "edit", () => this.form.fill(settings)),
            whole ? h("a", { class: "icon-button", href: whole, download: `${this.fileStem(settings)}.png`, title: t("run.download"), "aria-label": t("run.download") }, icon("download")) : null,
            at.iconButton(t("run.delete"), "delete", () => this.askDelete(trial)))),
        this.state(trial),
        WORKING.includes(trial.state) || pictures.some(({ url }) => url) ? h("div", { class: "trial-row" }, pictures.map((picture) => this.picture(trial, picture))) : null);
    }

    fileStem = (settings) => `${this.name}-${settings.seed}`;

    // What goes on, or what went wrong and how to go on; nothing when all is drawn.
    state(trial) {
      const done = trial.pictures.filter(({ url }) => url).length;
      const total = trial.pictures.length;
      if (trial.state === "done") return null;
      if (WORKING.includes(trial.state)) {
        const text = trial.state === "loading" ? t(`test.loading_${trial.detail || "libraries"}`) : t(`test.${trial.state}`, { n: done + 1, total });
        return h("div", { class: "trial-state" }, h("span", { class: "muted", text }), h("div", { class: "bar", style: { "--part": `${(100 * done) / total}%` } }));
      }
      const text = trial.state === "failed" ? `${trial.message} ${trial.hint}`.trim() : t("test.open");
      return h("div", { class: "trial-state failed" }, icon(trial.state === "failed" ? "problem" : "warning"), h("span", { text }), at.button(t(done ? "test.rest" : "test.again"), null, () => this.call("test_again", [this.id, trial.id]), "small"));
    }

    picture(trial, { strength, url, thumb_url }) {
      const label = strengthLabel(strength);
      const inside = url ? h("img", { src: thumb_url, alt: `${trial.settings.prompt} (${label})`, loading: "lazy" }) : null;
      const shape = { style: { "--shape": `${trial.settings.width} / ${trial.settings.height}` } };
      return h("figure", { class: "trial-picture" },
        url ? h("button", { type: "button", class: "sample", ...shape, "aria-label": label, onclick: () => this.compare(trial, strength, url) }, inside) : h("span", { class: `sample none ${WORKING.includes(trial.state) ? "is-due" : ""}`, ...shape }),
        h("figcaption", { text: label }));
    }

    // The picture over the one without the adapter, where there is one.
    compare(trial, strength, url) {
      const { settings, pictures } = trial;
      const base = strength !== 0 && pictures.find((picture) => picture.strength === 0 && picture.url);
      const note = `${t("run.seed")} ${settings.seed}`;
      at.compare(settings.prompt, base ? { url: base.url, label: t("test.without") } : null, { url, label: strengthLabel(strength) }, note, { url, name: `${this.fileStem(settings)}-${strength}.png` });
    }

    askDelete(trial) {
      at.dialog(t("test.delete_title"), h("p", { text: t("test.delete_note", { n: trial.pictures.length }) }), [
        [t("common.cancel"), ""],
        [t("run.delete"), "danger", () => this.call("test_delete", [this.id, trial.id])],
      ]);
    }
  }

  const strengthLabel = (strength) => (strength === 0 ? t("test.without") : String(+strength.toFixed(3)));

  // What is asked. send: called with the settings once they can be used.
  class TestForm {
    constructor(panel, send) {
      Object.assign(this, { panel, send });
      const number = (name, step) => this.field(name, h("input", { class: "ds-input", type: "number", step, name, inputmode: "decimal" }));
      this.inputs = {};
      const dice = at.iconButton(t("test.dice"), "dice", () => { this.inputs.seed.value = String(Math.floor(Math.random() * SEEDS)); });
      this.error = h("p", { class: "field-error", role: "alert", hidden: true });
      this.go = at.button(t("test.draw"), "picture", () => this.submit(), "primary");
      this.go.dataset.test = "draw";
      this.element = h("form", { class: "test-form", onsubmit: (event) => { event.preventDefault(); this.submit(); } },
        this.field("prompt", h("textarea", { class: "ds-input", name: "prompt", rows: "2", maxlength: "4000" }), "wide"),
        panel.guided ? this.field("negative", h("textarea", { class: "ds-input", name: "negative", rows: "1", maxlength: "4000" }), "wide") : null,
        h("div", { class: "test-line" },
          this.field("strengths", h("input", { class: "ds-input", name: "strengths", autocomplete: "off", title: t("test.strengths_note") }), "grow"),
          h("div", { class: "test-seed" }, number("seed", "1"), dice),
          this.go),
        h("details", { class: "test-more" }, h("summary", { text: t("test.more") }),
          panel.files.length > 1 ? this.field("file", h("select", { class: "ds-input", name: "file" }, panel.files.map((name) => h("option", { value: name, text: name })))) : null,
          h("div", { class: "test-line" }, number("width", String(panel.multiple)), number("height", String(panel.multiple)), number("steps", "1"), number("guidance", "any"))),
        this.error);
      this.element.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.submit(); });
      this.fill(panel);
    }

    field(name, input, kind = "") {
      this.inputs[name] = input;
      return h("label", { class: `ds-label ${kind}` }, h("span", { text: t(`test.${name}`) }), input);
    }

    fill(settings) {
      for (const [name, input] of Object.entries(this.inputs)) input.value = name === "file" ? settings.file || this.panel.files[0] : name === "strengths" ? settings.strengths.map((one) => +one.toFixed(3)).join(", ") : String(settings[name]);
    }

    setBusy(busy) {
      this.go.disabled = busy;
    }

    submit() {
      if (this.go.disabled) return;
      const settings = this.read();
      this.error.hidden = !settings.error;
      this.error.textContent = settings.error ?? "";
      if (!settings.error) this.send(settings);
    }

    // The settings, or {error: sentence}.
    read() {
      const { inputs } = this;
      const strengths = inputs.strengths.value.split(/[\s,;\uff0c\u3001]+/).filter(Boolean).map(Number);
      if (!strengths.length || strengths.length > 12 || !strengths.every((one) => Math.abs(one) <= 4)) return { error: t("test.bad_strengths") };
      const settings = { prompt: inputs.prompt.value.trim(), negative: inputs.negative?.value.trim() ?? "", file: inputs.file?.value ?? "", strengths };
      for (const name of ["seed", "width", "height", "steps", "guidance"]) {
        const value = inputs[name].valueAsNumber;
        if (!isFinite(value) || (name !== "guidance" && !Number.isInteger(value))) return { error: t("test.bad_number", { name: t(`test.${name}`) }) };
        settings[name] = value;
      }
      return settings;
    }
  }

  Object.assign(at, { RunTest, TestForm });
})();
