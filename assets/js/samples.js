// Previews of a run: a grid of prompts by steps, with a step scrubber and a before / after slider.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h } = at;

  class Samples {
    constructor() {
      this.list = [];
      this.step = null; // null: the newest
      this.body = h("div", { class: "sample-body" });
      this.scrubber = h("input", { type: "range", min: "0", step: "1", "aria-label": t("run.step_scrubber"), oninput: () => this.pick(Number(this.scrubber.value)) });
      this.label = h("b");
      this.bar = h("div", { class: "sample-bar" }, h("span", { class: "muted", text: t("run.at_step") }), this.label, this.scrubber);
      this.element = h("section", { class: "samples" }, h("div", { class: "plot-bar" }, h("h2", { text: t("run.samples") }), h("span", { class: "grow" }), this.bar), this.body);
      this.draw();
    }

    set(list) {
      this.list = list;
      this.draw();
    }

    clear() {
      this.step = null;
      this.set([]);
    }

    steps() {
      return [...new Set(this.list.map((sample) => sample.step))].sort((a, b) => a - b);
    }

    pick(index) {
      const steps = this.steps();
      this.step = index >= steps.length - 1 ? null : steps[index];
      this.draw();
    }

    draw() {
      const steps = this.steps();
      const shown = this.step ?? steps.at(-1);
      this.bar.hidden = steps.length < 2;
      this.scrubber.max = String(Math.max(0, steps.length - 1));
      this.scrubber.value = String(steps.indexOf(shown));
      this.label.textContent = String(shown ?? "");
      if (!steps.length) return this.body.replaceChildren(h("p", { class: "muted pad", text: t("run.no_samples") }));
      const rows = [...new Set(this.list.map((sample) => sample.index))].sort((a, b) => a - b);
      const found = (index, step) => this.list.find((sample) => sample.index === index && sample.step === step);
      const table = h("div", { class: "sample-grid", style: { "--columns": String(steps.length) } },
        h("span"), steps.map((step, i) => h("button", { type: "button", class: `step-head ${step === shown ? "is-on" : ""}`, text: step ? String(step) : t("run.before"), onclick: () => this.pick(i) })),
        rows.map((index) => [
          h("p", { class: "prompt", text: (found(index, shown) ?? this.list.find((sample) => sample.index === index)).prompt }),
          ...steps.map((step) => this.cell(found(index, step), step === shown)),
        ]).flat());
      const keep = this.body.scrollLeft;
      this.body.replaceChildren(table);
      this.body.scrollLeft = this.step === null ? this.body.scrollWidth : keep;
    }

    cell(sample, on) {
      if (!sample) return h("span", { class: "sample none" });
      const picture = h("img", { src: sample.thumb_url || sample.url, alt: sample.prompt, loading: "lazy", width: "128", height: "128" });
      return h("button", { type: "button", class: `sample ${on ? "is-on" : ""}`, title: `${sample.prompt}\n${t("run.seed")} ${sample.seed}`, onclick: () => this.compare(sample) }, picture);
    }

    // The picture of this step over the one from before the training.
    compare(sample) {
      const before = this.list.find((other) => other.index === sample.index && other.step === 0) ?? sample;
      at.compare(sample.prompt, { url: before.url, label: t("run.before") }, { url: sample.url, label: t("run.step_n", { n: sample.step }) }, `${t("run.seed")} ${sample.seed}`);
    }
  }

  // Two pictures, {url, label}, one over the other; the slider shows more of one or the other. before: null for none.
  // file: {url, name} that can be downloaded.
  at.compare = (title, before, after, note, file = null) => {
    const stage = h("div", { class: "compare", style: { "--cut": before ? "50%" : "0%" } },
      before ? h("img", { src: before.url, alt: before.label }) : null, h("img", { class: before ? "after" : "", src: after.url, alt: title }),
      before ? h("span", { class: "tag left", text: before.label }) : null, h("span", { class: "tag right", text: after.label }));
    const slider = before ? h("input", { type: "range", min: "0", max: "100", value: "50", "aria-label": t("run.compare"), oninput: (event) => stage.style.setProperty("--cut", `${event.target.value}%`) }) : null;
    const fetched = file ? h("a", { class: "button", href: file.url, download: file.name }, at.icon("download"), h("span", { text: t("run.download") })) : null;
    const line = h("div", { class: "compare-note" }, h("span", { class: "muted", text: note }), h("span", { class: "grow" }), fetched);
    at.dialog(title, h("div", { class: "compare-box" }, stage, slider, line), [[t("common.close"), ""]]);
  };

  at.Samples = Samples;
})();
