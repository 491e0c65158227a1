// The list of preference sets at the left: choose one, make one, import one.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h, icon } = at;

  class PreferenceSets {
    // ask: the server; chosen(name): another set
    constructor({ ask, chosen }) {
      Object.assign(this, { ask, chosen, list: [], name: "", wanted: "", turn: 0, known: false, importing: "" });
      this.rows = h("div", { class: "pf-set-list", role: "list" }, Array.from({ length: 3 }, () => h("div", { class: "run-row skeleton" })));
      this.note = h("p", { class: "pf-importing", role: "status", hidden: true });
      this.element = h("aside", { class: "pf-sets" },
        h("header", { class: "tab-heading" }, h("h1", { text: t("preferences.title") }), h("p", { text: t("preferences.subtitle") })),
        h("div", { class: "actions" }, at.button(t("preferences.new_set"), "plus", () => this.askNew()), at.button(t("preferences.import"), "upload", () => this.askImport())),
        this.note, this.rows);
    }

    // Reads the list again. wanted: the set to open; without one the last one, else the newest.
    async look(wanted = "") {
      const turn = ++this.turn;
      this.wanted = wanted || this.wanted;
      const answer = await this.ask.pref_sets(0);
      if (!answer?.sets || turn !== this.turn) return; // a list from before a set was made must not lead away from it
      this.list = answer.sets;
      this.follow(answer.importing);
      const names = this.list.map(({ name }) => name);
      const name = [this.wanted, this.name, at.load("preference-set"), names[0]].find((one) => one && names.includes(one)) ?? "";
      const other = name !== this.name || !this.known;
      Object.assign(this, { known: true, wanted: "" });
      if (other) await this.choose(name);
      this.draw();
    }

    choose(name) {
      this.name = name;
      if (name) at.save("preference-set", name);
      this.draw();
      return this.chosen(name);
    }

    draw() {
      const key = JSON.stringify([this.list, this.name, Math.floor(Date.now() / 60000)]);
      if (key === this.drawnKey) return;
      this.drawnKey = key;
      this.rows.replaceChildren(...this.list.map((one) => this.row(one)));
    }

    row({ name, pictures, votes, used, thumb }) {
      const facts = [at.some("preferences.n_pictures", pictures), votes ? at.some("preferences.n_votes", votes) : ""].filter(Boolean).join(" \u00b7 ");
      const shown = thumb ? h("img", { class: "run-thumb", src: thumb, alt: "", loading: "lazy" }) : h("span", { class: "run-thumb none" }, icon("preferences"));
      return h("button", { type: "button", class: "run-row", role: "listitem", "aria-current": name === this.name ? "true" : null, data: { set: name }, onclick: () => name === this.name || this.choose(name) },
        shown, h("span", { class: "run-text" }, h("strong", { class: "pf-set-name", text: name }), h("span", { class: "run-facts", text: facts }), h("span", { class: "run-facts", text: at.when(used) })));
    }

    askNew() {
      const name = h("input", { class: "ds-input", id: "pf-new-name", type: "text", maxlength: "80", autocomplete: "off", spellcheck: "false", placeholder: t("preferences.name_example") });
      const error = h("p", { class: "field-error", role: "alert", hidden: true });
      const make = async () => {
        const answer = await this.ask.pref_new(name.value.trim());
        error.hidden = !(error.textContent = answer ? answer.error ?? "" : t("common.no_answer"));
        if (!answer?.name) return false;
        this.look(answer.name); // the dialog need not wait for it
        return true;
      };
      const close = at.dialog(t("preferences.new_set"), h("div", { class: "pf-dialog" }, h("label", { class: "ds-label" }, h("span", { text: t("preferences.name") }), name), error), [[t("common.cancel"), ""], [t("preferences.make"), "primary", make]]);
      name.addEventListener("keydown", async (event) => event.key === "Enter" && !event.isComposing && (await make()) && close());
      name.focus();
    }

    // A file or folder that lies on the machine that Atelier runs on.
    askImport() {
      const line = (id, example) => h("input", { class: "ds-input", id, type: "text", maxlength: "2000", autocomplete: "off", spellcheck: "false", placeholder: example });
      const [source, name] = [line("pf-import-source", "D:/pairs/train.parquet"), line("pf-import-name", t("preferences.name_example"))];
      name.value = this.name;
      const error = h("p", { class: "field-error", role: "alert", hidden: true });
      at.dialog(t("preferences.import"), h("div", { class: "pf-dialog" },
        h("p", { class: "muted", text: t("preferences.import_note") }),
        h("label", { class: "ds-label" }, h("span", { text: t("preferences.import_source") }), source),
        h("label", { class: "ds-label" }, h("span", { text: t("preferences.import_into") }), name), error), [
        [t("common.cancel"), ""],
        [t("preferences.import_start"), "primary", async () => {
          const answer = await this.ask.pref_import([source.value.trim(), name.value.trim()]);
          error.hidden = !(error.textContent = answer ? answer.error ?? "" : t("common.no_answer"));
          if (!error.hidden) return false;
          this.look();
          return true;
        }],
      ]);
      source.focus();
    }

    // An import goes on in the background; what came of it is told once.
    follow(importing) {
      const wasLive = this.importing === "running";
      this.importing = importing?.state ?? "";
      this.note.hidden = this.importing !== "running";
      this.note.textContent = this.note.hidden ? "" : t("preferences.importing", { name: importing.set });
      if (!wasLive || this.importing === "running") return;
      if (importing.error) at.toast(importing.error, "danger", [t("common.close"), () => {}]);
      else this.tell(importing.set, importing.came);
      this.look(importing.error ? "" : importing.set);
    }

    // What came, and what did not: those who wrote the source may want to mend it.
    tell(name, { pictures, pairs, votes, faults, first }) {
      at.toast(t("preferences.imported", { name, pictures, pairs, votes }));
      if (faults) at.dialog(t("preferences.import_faults", { n: faults }), h("ul", { class: "pf-faults" }, first.map((text) => h("li", { text }))), [[t("common.close"), ""]]);
    }
  }

  at.PreferenceSets = PreferenceSets;
})();
