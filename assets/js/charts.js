// The plots of one run: a large one for the loss, small ones for the rest. Data comes in portions, by `add`.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h } = at;
  const COLUMNS = ["step", "loss", "lr", "grad_norm", "seconds", "memory_gib"];
  const SMALL = [["val", ""], ["lr", ""], ["grad_norm", ""], ["memory_gib", "GB"], ["seconds", "s"], ["use", "%"]];
  const MACHINE_POINTS = 900;

  class Charts {
    constructor() {
      this.shared = { range: null, hover: null, plots: [] };
      this.pairs = new at.PairCharts(this.shared);
      this.smooth = Number(at.load("smooth") ?? 0.85);
      this.clear();
      this.loss = new at.Plot({ shared: this.shared, title: t("plot.loss"), xName: t("plot.step"), log: at.load("log") === "1" });
      this.small = Object.fromEntries(SMALL.map(([name, unit]) => [name, new at.Plot({ shared: this.shared, small: true, title: t(`plot.${name}`), unit, xName: t("plot.step"), free: name === "use" })]));
      Object.assign(this.small.use, { floor: 0, ceiling: 100 });
      Object.assign(this.small.memory_gib, { floor: 0 });
      this.element = h("section", { class: "charts" }, this.toolbar(), this.loss.element, this.pairs.element, this.grid());
      at.on("theme", () => this.draw());
    }

    clear() {
      this.data = Object.fromEntries(COLUMNS.map((name) => [name, []]));
      this.val = { x: [], y: [] };
      this.use = { x: [], gpu: [], cpu: [] };
      this.pairs.clear();
      this.marks = new Map(); // the mark as text -> [step, kind, text]
      if (this.shared) this.shared.range = null;
    }

    get length() {
      return this.data.step.length;
    }

    // points: rows in the order of COLUMNS; what follows is of pairs
    add(points) {
      for (const point of points) {
        COLUMNS.forEach((name, i) => this.data[name].push(point[i]));
        this.pairs.add(point[0], point.slice(COLUMNS.length));
      }
    }

    // Validation, marks (the newest of both may come again), and what the machine does now.
    addRest(answer) {
      for (const [step, loss, ...pairs] of answer.val) {
        this.pairs.addHeld(step, pairs);
        const known = this.val.x.lastIndexOf(step);
        if (known < 0) this.val.x.push(step);
        this.val.y[known < 0 ? this.val.x.length - 1 : known] = loss;
      }
      this.pairs.tell(answer.alarms);
      for (const mark of answer.marks) this.marks.set(mark.join(" "), mark);
      if (answer.state === "running" && answer.cpu) this.addUse(Math.round(answer.elapsed_s), answer.gpu ? answer.gpu[0] : null, answer.cpu[0]);
    }

    // x: seconds of work; gpu, cpu: percent. What is not newer than the last point is passed over.
    addUse(x, gpu, cpu) {
      if (x <= (this.use.x.at(-1) ?? -1)) return;
      this.use.x.push(x);
      this.use.gpu.push(gpu);
      this.use.cpu.push(cpu);
      if (this.use.x.length > MACHINE_POINTS) for (const list of Object.values(this.use)) list.shift();
    }

    draw() {
      const { data, val } = this;
      this.loss.series = [
        { name: t("plot.raw"), colour: "accent", raw: true, x: data.step, y: data.loss },
        { name: t("plot.smoothed"), colour: "accent", x: data.step, y: at.smoothed(data.loss, this.smooth) },
        { name: t("plot.val"), colour: "warning", dots: true, x: val.x, y: val.y },
      ];
      const marks = [...this.marks.values()];
      this.loss.ticks = marks.filter(([, kind]) => kind === "checkpoint").map(([step]) => step);
      this.loss.marks = marks.filter(([, kind]) => kind !== "checkpoint").map(([step, kind, text]) => [step, text || (at.words[`plot.mark.${kind}`] ?? kind)]);
      const line = (name, colour = "accent") => [{ name: t(`plot.${name}`), colour, x: data.step, y: data[name] }];
      for (const name of ["lr", "grad_norm", "memory_gib", "seconds"]) this.small[name].series = line(name);
      this.small.val.series = [
        { name: t("plot.val"), colour: "warning", x: val.x, y: val.y },
        { name: t("plot.val"), colour: "warning", dots: true, x: val.x, y: val.y },
      ];
      this.small.use.series = [
        { name: "CPU", colour: "muted", x: this.use.x, y: this.use.cpu },
        { name: "GPU", colour: "accent", x: this.use.x, y: this.use.gpu },
      ];
      this.pairs.draw(this.smooth);
      this.shared.plots.forEach((plot) => plot.draw());
      this.drawValues();
      this.empty.hidden = this.length > 0;
      this.figures.use.hidden = !this.use.x.length; // known only while the run goes on
    }

    drawValues() {
      const latest = (list) => list.at(-1);
      for (const [name, unit] of SMALL) {
        const value = name === "use" ? latest(this.use.gpu) ?? latest(this.use.cpu) : name === "val" ? latest(this.val.y) : latest(this.data[name]);
        this.values[name].textContent = value === undefined || value === null ? "" : `${at.number(name === "use" ? Math.round(value) : value)} ${unit}`.trim();
      }
    }

    toolbar() {
      const legend = ["raw", "smoothed", "val"].map((name) => {
        const label = t(`plot.${name}`);
        return h("button", { type: "button", class: `legend legend-${name}`, "aria-pressed": "true", onclick: (event) => {
          const hidden = this.loss.hidden.has(label);
          this.loss.hidden[hidden ? "delete" : "add"](label);
          event.currentTarget.setAttribute("aria-pressed", String(hidden));
          this.loss.draw();
        } }, h("i"), h("span", { text: label }));
      });
      const slider = h("input", { type: "range", min: "0", max: "0.99", step: "0.01", value: String(this.smooth), "aria-label": t("plot.smoothing"), oninput: (event) => {
        this.smooth = Number(event.target.value);
        at.save("smooth", this.smooth);
        this.draw();
      } });
      const scale = h("button", { type: "button", id: "plot-log", class: "mini-tab", "aria-pressed": String(this.loss.log), text: t("plot.log"), onclick: () => {
        this.loss.log = !this.loss.log;
        at.save("log", this.loss.log ? "1" : "0");
        scale.setAttribute("aria-pressed", String(this.loss.log));
        this.loss.draw();
      } });
      this.empty = h("p", { class: "plot-empty muted", text: t("plot.empty") });
      return h("div", { class: "plot-bar" },
        h("h2", { text: t("plot.loss") }), legend, h("span", { class: "grow" }),
        h("label", { class: "smooth" }, h("span", { text: t("plot.smoothing") }), slider), scale,
        at.iconButton(t("plot.png"), "picture", () => this.loss.canvas.toBlob((blob) => at.download(`${this.name}-loss.png`, blob))),
        at.iconButton(t("plot.csv"), "table", () => at.download(`${this.name}.csv`, new Blob([this.csv()], { type: "text/csv" }))),
        this.empty);
    }

    csv() {
      const val = new Map(this.val.x.map((step, i) => [step, this.val.y[i]]));
      const pairs = this.pairs.table();
      const rows = this.data.step.map((step, i) => [...COLUMNS.map((name) => this.data[name][i] ?? ""), val.get(step) ?? "", ...pairs.cells(i)].join(","));
      return [[...COLUMNS, "validation", ...pairs.names].join(","), ...rows].join("\n") + "\n";
    }

    grid() {
      this.values = {};
      this.figures = {};
      return h("div", { class: "multiples" }, SMALL.map(([name]) => {
        this.values[name] = h("b");
        this.figures[name] = h("figure", { class: `multiple multiple-${name}` }, h("figcaption", {}, h("span", { text: t(`plot.${name}`) }), this.values[name]), this.small[name].element);
        return this.figures[name];
      }));
    }
  }

  at.Charts = Charts;
})();
