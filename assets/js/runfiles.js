// Below the plots of a run: log, configuration, files.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h, icon } = at;
  const LOG_CHARACTERS = 200_000;
  const SERIOUS = /\b(warn(ing)?|error|traceback|exception|failed|critical)\b/i;

  class RunFiles {
    // current: gives the detail record of the run that is shown
    constructor(server, current) {
      Object.assign(this, { server, current, view: "log", offset: 0, text: "", follow: true, serious: false });
      this.tabs = ["log", "config", "files"].map((name) => h("button", { type: "button", role: "tab", class: "mini-tab", data: { view: name }, text: t(`run.${name}`), onclick: () => { this.view = name; this.draw(); this.poll(); } }));
      this.tools = h("span", { class: "actions" });
      this.pane = h("div", { class: "lower-pane" });
      this.log = h("pre", { class: "code log", tabindex: "0" });
      this.element = h("section", { class: "lower" }, h("div", { class: "plot-bar" }, h("div", { class: "mini-tabs", role: "tablist" }, this.tabs), h("span", { class: "grow" }), this.tools), this.pane);
      this.log.addEventListener("wheel", () => this.setFollow(this.log.scrollTop + this.log.clientHeight >= this.log.scrollHeight - 40));
    }

    clear() {
      Object.assign(this, { offset: 0, text: "", follow: true });
      this.log.replaceChildren();
    }

    show() {
      this.draw();
    }

    setFollow(follow) {
      this.follow = follow;
      const box = this.tools.querySelector("input[name=follow]");
      if (box) box.checked = follow;
    }

    async poll() {
      const detail = this.current();
      if (!detail || this.view !== "log" || this.asking) return 500;
      this.asking = true;
      const { id } = detail.summary;
      const answer = await this.server.log([id, this.offset]);
      this.asking = false;
      if (!answer || this.current()?.summary.id !== id) return 1500;
      const news = answer.text.length > 0;
      this.offset = answer.offset;
      if (!news) return 1500;
      this.text = (this.text + answer.text).slice(-LOG_CHARACTERS);
      this.drawLog();
      return 200;
    }

    draw() {
      const detail = this.current();
      const pictures = at.isOfPictures(detail?.summary.kind); // such a job leaves no files of its own
      if (pictures && this.view === "files") this.view = "log";
      for (const tab of this.tabs) {
        tab.setAttribute("aria-selected", String(tab.dataset.view === this.view));
        tab.hidden = pictures && tab.dataset.view === "files";
      }
      if (!detail) return;
      if (this.view === "log") this.drawLogPane();
      else if (this.view === "config") this.drawConfig(detail);
      else this.drawFiles(detail);
    }

    drawLogPane() {
      if (this.pane.firstChild === this.log) return;
      const box = (name, checked, onchange) => h("label", { class: "check" }, h("input", { type: "checkbox", name, checked, onchange }), h("span", { text: t(`run.${name}`) }));
      this.tools.replaceChildren(
        box("serious", this.serious, (event) => { this.serious = event.target.checked; this.drawLog(); }),
        box("follow", this.follow, (event) => { this.setFollow(event.target.checked); this.drawLog(); }),
        at.iconButton(t("common.copy"), "copy", () => at.copy(this.text)));
      this.pane.replaceChildren(this.log);
      this.drawLog();
    }

    drawLog() {
      const lines = this.text.split("\n").filter((line) => !this.serious || SERIOUS.test(line));
      this.log.replaceChildren(...(this.text ? lines.map((line) => h("span", { class: SERIOUS.test(line) ? "serious" : null, text: `${line}\n` })) : [h("span", { class: "muted", text: t("run.no_log") })]));
      if (this.follow) this.log.scrollTop = this.log.scrollHeight;
    }

    drawConfig(detail) {
      this.tools.replaceChildren(
        ...(detail.summary.kind === "caption" ? [] : [at.button(t("run.use_config"), "edit", () => { at.act("toml", detail.toml); at.go("expert"); })]),
        at.iconButton(t("common.copy"), "copy", () => at.copy(detail.toml)));
      this.pane.replaceChildren(h("pre", { class: "code", tabindex: "0", text: detail.toml }));
    }

    drawFiles(detail) {
      this.tools.replaceChildren();
      if (!detail.files.length) return this.pane.replaceChildren(h("p", { class: "muted pad", text: t("run.no_files") }));
      this.pane.replaceChildren(h("ul", { class: "files" }, detail.files.map((file) => h("li", {},
        icon("file"), h("span", { class: "file-name", text: file.name }), h("span", { class: "muted", text: file.size }),
        h("a", { class: "button", href: file.url, download: file.name.split("/").pop() }, icon("download"), h("span", { text: t("run.download") })),
      ))));
    }
  }

  at.RunFiles = RunFiles;
})();
