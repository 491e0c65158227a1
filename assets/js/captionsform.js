// The settings of the chosen captioner, and what becomes of its texts: few in sight, the rest in a fold.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h } = at;
  const AFTER = 600; // milliseconds without a key, until what is typed is checked
  const ORDER = ["server", "prompt", "tags", "generate", "captioner", "run", "policy"];

  class Field {
    // record: as the server describes it, and `form`, which names its control; changed(path, content); more(): choices that are asked for when it is entered
    constructor(record, changed, more = null) {
      Object.assign(this, { record, changed, more, sent: record.value });
      this.input = this.control();
      this.input.id = `${record.form ?? "cp"}-${record.path.replace(".", "-")}`;
      this.ghost = h("span", { class: "cp-ghost", hidden: true });
      this.error = h("p", { class: "field-error", role: "alert", hidden: true });
      this.reset = at.iconButton(t("captioning.reset"), "reset", () => this.put(record.default));
      this.reset.classList.add("cp-reset");
      const label = h("label", { class: "cp-label", for: this.input.id }, h("span", { text: record.label }));
      const body = record.control === "check"
        ? [h("div", { class: "cp-check" }, this.input, label, this.reset)]
        : [h("div", { class: "cp-label-line" }, label, this.ghost, this.reset), this.input, this.offer()];
      this.element = h("div", { class: `cp-field cp-field-${record.control}`, data: { path: record.path } }, ...body.filter(Boolean), record.help ? h("p", { class: "cp-help", text: record.help }) : "", this.error);
      this.mark({ errors: {}, resolved: {}, modified: [] });
    }

    get offerId() {
      return `${this.record.form ?? "cp"}-offer-${this.record.path.replace(".", "-")}`;
    }

    control() {
      const { control, options, value, default: usual } = this.record;
      if (control === "check") {
        const box = h("input", { type: "checkbox", checked: value, onchange: () => this.commit() });
        return box;
      }
      if (control === "select") {
        const known = options.some(([option]) => option === value) ? options : [...options, [value, value]];
        const select = h("select", { class: "cp-select", onchange: () => this.commit() }, known.map(([option, text]) => h("option", { value: option, text })));
        select.value = value;
        return select;
      }
      const typing = { class: "ds-input", spellcheck: "false", autocomplete: "off", oninput: () => this.typed(), onblur: () => this.commit() };
      const lines = this.record.path.startsWith("prompt.text") ? "3" : "2";
      const box = control === "area" ? h("textarea", { ...typing, rows: lines }) : h("input", { ...typing, type: "text", placeholder: String(usual), list: control === "combo" ? this.offerId : null, onfocus: () => this.lookUp(), onkeydown: (event) => event.key === "Enter" && !event.isComposing && this.commit() });
      box.value = value;
      return box;
    }

    // What can be chosen beside what can be typed: for a line as its list, for lines as a choice that adds one.
    offer() {
      const { control, options, path } = this.record;
      if ((!options.length && control !== "combo") || control === "select") return null;
      if (control !== "area") return (this.list = h("datalist", { id: this.offerId }, options.map(([value, text]) => h("option", { value, label: text === value ? null : text }))));
      const add = h("select", { class: "cp-select cp-add", "aria-label": t("captioning.add_line"), onchange: () => { this.put([this.input.value.trim(), add.value].filter(Boolean).join("\n")); add.value = ""; } }, h("option", { value: "", text: t("captioning.add_line") }), options.map(([value, text]) => h("option", { value, text })));
      return add;
    }

    async lookUp() {
      const found = await this.more?.();
      if (found) this.list.replaceChildren(...found.map((value) => h("option", { value })));
    }

    content() {
      return this.record.control === "check" ? this.input.checked : this.input.value;
    }

    put(value) {
      if (this.record.control === "check") this.input.checked = value;
      else this.input.value = value;
      this.commit();
    }

    typed() {
      clearTimeout(this.later);
      this.later = setTimeout(() => this.commit(), AFTER);
    }

    commit() {
      clearTimeout(this.later);
      if (this.content() === this.sent) return;
      this.sent = this.content();
      this.changed(this.record.path, this.sent);
    }

    // What was typed and not sent yet, and will be sent with an act that follows.
    pending() {
      clearTimeout(this.later);
      if (this.content() === this.sent) return {};
      this.sent = this.content();
      return { [this.record.path]: this.sent };
    }

    mark({ errors, resolved, modified }) {
      const { path } = this.record;
      const message = at.sentence(errors[path] ?? "");
      this.error.textContent = message;
      this.error.hidden = !message;
      this.element.toggleAttribute("data-error", Boolean(message));
      this.input.setAttribute("aria-invalid", String(Boolean(message)));
      const changed = modified.includes(path);
      this.element.toggleAttribute("data-modified", changed);
      this.reset.hidden = !changed;
      this.ghost.textContent = resolved[path] ? `= ${resolved[path]}` : "";
      this.ghost.hidden = !resolved[path];
      return changed;
    }
  }

  class CaptionForm {
    // changed(raws): dotted path -> content; models(url): {models} of a server
    constructor(changed, models) {
      Object.assign(this, { changed, fields: new Map() });
      this.more = { "server.model": async () => (await models(this.fields.get("server.url").content()))?.models };
      this.asking = h("div", { class: "cp-form" }); // how the captioner is asked
      this.writing = h("div", { class: "cp-form" }); // what becomes of its texts
      this.folds = [];
    }

    show(all) {
      const records = all.toSorted((one, other) => ORDER.indexOf(one.section) - ORDER.indexOf(other.section));
      for (const field of this.fields.values()) clearTimeout(field.later);
      this.fields = new Map(records.map((record) => [record.path, new Field(record, (path, content) => this.changed({ [path]: content }), this.more[record.path])]));
      const isOpen = Object.fromEntries(this.folds.map(({ key, fold }) => [key, fold.open]));
      this.folds = [];
      const fill = (root, key, wanted) => {
        const part = (level) => records.filter((record) => wanted(record) && record.level === level).map(({ path }) => this.fields.get(path).element);
        const [few, rest] = [part("beginner"), part("expert")];
        root.replaceChildren(...(few.length ? [h("div", { class: "cp-grid" }, few)] : []), ...(rest.length ? [this.fold(key, rest, isOpen[key])] : []));
      };
      const policy = ({ section }) => section === "policy";
      fill(this.asking, "asking", (record) => !policy(record));
      fill(this.writing, "writing", policy);
    }

    fold(key, elements, open) {
      const count = h("span", { class: "count" });
      const fold = h("details", { class: "cp-more", open: open || null }, h("summary", {}, h("span", { text: t("captioning.more") }), count), h("div", { class: "cp-grid" }, elements));
      this.folds.push({ key, fold, count, elements });
      return fold;
    }

    // check: what the server found. A fold with a fault opens.
    mark(check) {
      for (const field of this.fields.values()) field.mark(check);
      for (const { fold, count, elements } of this.folds) {
        const changed = elements.filter((element) => element.hasAttribute("data-modified")).length;
        count.textContent = changed ? String(changed) : "";
        if (elements.some((element) => element.hasAttribute("data-error"))) fold.open = true;
      }
    }

    put(path, value) {
      this.fields.get(path)?.put(value);
    }

    pending() {
      return Object.assign({}, ...[...this.fields.values()].map((field) => field.pending()));
    }

    showFirstError() {
      const field = [...this.fields.values()].find(({ element }) => element.hasAttribute("data-error"));
      field?.element.scrollIntoView({ block: "center" });
      field?.input.focus({ preventScroll: true });
    }
  }

  Object.assign(at, { CaptionForm, FormField: Field });
})();
