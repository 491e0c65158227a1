// Edits of many captions: what to do and to which, then what would change, and only then the act itself.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h, icon } = at;
  const LOOK_AFTER = 250; // milliseconds without a change
  // operation -> its fields: [key, kind of control]
  const FIELDS = {
    replace: [["find", "text"], ["with", "text"], ["case", "bool"], ["regex", "bool"]],
    add: [["tag", "text"], ["at", ["last", "first"]]],
    remove: [["tag", "text"]],
    rename: [["tag", "text"], ["to", "text"]],
    trigger: [["text", "text"]],
    prefix: [["text", "text"]],
    suffix: [["text", "text"]],
    sort: [["by", ["alphabet", "frequency"]]],
    dedupe: [], trim: [], spaces: [], underscores: [],
    set: [["text", "text"]],
    clear: [],
  };

  const TAGS = ["tag", "to"]; // fields that offer the set's tags

  // The part in the middle that differs: [same, before, after, same].
  function difference(before, after) {
    let start = 0;
    while (start < Math.min(before.length, after.length) && before[start] === after[start]) start++;
    let end = 0;
    while (end < Math.min(before.length, after.length) - start && before.at(-1 - end) === after.at(-1 - end)) end++;
    return [before.slice(0, start), before.slice(start, before.length - end), after.slice(start, after.length - end), before.slice(before.length - end)];
  }

  class Bulk {
    // preview(operation, scope), apply(operation, scope): records; scopes: [[name, count, scope]]; trigger: word of the
    // draft; tags(limit): [[tag, count]] of the set; done(record)
    constructor({ preview, apply, scopes, begin, trigger, tags, done }) {
      Object.assign(this, { preview, send: apply, scopes, trigger, done, turn: 0, ready: false });
      this.kind = h("select", { id: "ds-edit-kind", "aria-label": t("edit.what"), onchange: () => this.fields() }, Object.keys(FIELDS).map((kind) => h("option", { value: kind, text: t(`edit.${kind}`) })));
      this.inputs = h("div", { class: "ds-edit-fields", oninput: () => this.later(), onkeydown: (event) => event.key === "Enter" && event.preventDefault() });
      this.where = h("div", { class: "ds-edit-scope", role: "radiogroup", "aria-label": t("edit.where"), onchange: () => this.look() }, scopes.map(([name, count], index) => h("label", {}, h("input", { type: "radio", name: "ds-scope", value: String(index), checked: index === 0 }), h("span", { text: t(`edit.of_${name}`, { n: count }) }))));
      this.said = h("p", { class: "ds-edit-said", role: "status" });
      this.examples = h("div", { class: "ds-examples" });
      const offered = h("datalist", { id: "ds-edit-tags" });
      at.offerTags(offered, tags);
      this.element = h("div", { class: "ds-bulk" }, offered, h("div", { class: "ds-edit-head" }, this.kind, this.inputs), this.where, this.said, this.examples);
      if (begin.kind) this.kind.value = begin.kind;
      this.fields(begin);
    }

    fields(begin = {}) {
      const control = ([key, kind]) => {
        const label = t(`edit.field.${key}`);
        if (Array.isArray(kind)) return h("label", { class: "ds-label" }, h("span", { text: label }), h("select", { data: { key } }, kind.map((value) => h("option", { value, text: t(`edit.${key}.${value}`) }))));
        if (kind === "bool") return h("label", { class: "ds-check" }, h("input", { type: "checkbox", data: { key } }), h("span", { text: label }));
        const input = h("input", { type: "text", class: "ds-input", list: TAGS.includes(key) && "ds-edit-tags", data: { key }, spellcheck: "false", autocomplete: "off" });
        input.value = begin[key] ?? (this.kind.value === "trigger" ? this.trigger : "");
        return h("label", { class: "ds-label" }, h("span", { text: label }), input);
      };
      this.inputs.replaceChildren(...FIELDS[this.kind.value].map(control));
      const empty = [...this.inputs.querySelectorAll("input[type=text]")].find((input) => !input.value);
      setTimeout(() => (empty ?? this.kind).focus(), 0);
      this.look();
    }

    operation() {
      const fields = [...this.inputs.querySelectorAll("[data-key]")].map((input) => [input.dataset.key, input.type === "checkbox" ? input.checked : input.value]);
      return { kind: this.kind.value, ...Object.fromEntries(fields) };
    }

    scope() {
      return this.scopes[Number(this.where.querySelector(":checked").value)][2];
    }

    // The act is possible once its first field says what it is about.
    complete() {
      const first = FIELDS[this.kind.value].find(([, kind]) => kind === "text");
      return !first || this.operation()[first[0]] !== "";
    }

    later() {
      this.ready = false;
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.look(), LOOK_AFTER);
    }

    async look() {
      const turn = ++this.turn;
      this.ready = false;
      if (!this.complete()) return this.show("", []);
      const found = await this.preview(this.operation(), this.scope());
      if (turn !== this.turn) return;
      if (!found || found.error) return this.show(found?.error ?? t("common.no_answer"), [], "danger");
      this.ready = found.files > 0;
      const said = found.files ? t("edit.found", { files: found.files, changes: found.changes }) : t("edit.none");
      this.show(found.warning ? `${said} ${t(`edit.warning.${found.warning}`)}` : said, found.examples, found.warning ? "warning" : "");
    }

    show(said, examples, kind = "") {
      this.said.textContent = said;
      this.said.className = `ds-edit-said ${kind}`;
      this.examples.replaceChildren(...examples.map(([, name, before, after]) => {
        const [head, old, fresh, tail] = difference(before, after);
        const line = (mark, part) => h("p", {}, h("span", { text: head }), part ? h(mark, { text: part }) : null, h("span", { text: tail }));
        return h("div", { class: "ds-example" }, h("b", { text: name }), line("del", old), line("ins", fresh));
      }));
    }

    async apply() {
      if (!this.ready) {
        await this.look();
        if (!this.ready) return false;
      }
      const answer = await this.send(this.operation(), this.scope());
      if (!answer || answer.error) {
        this.show(answer?.error ?? t("common.no_answer"), [], "danger");
        return false;
      }
      this.done(answer);
    }
  }

  at.bulkEdit = (options) => {
    const bulk = new Bulk({ begin: {}, ...options });
    at.dialog(t("edit.title"), bulk.element, [[t("common.cancel"), ""], [t("edit.apply"), "primary", () => bulk.apply()]]);
  };

  // What an act did, as the server's label tells it: "replace: cat > dog".
  at.editLabel = (label) => {
    const [, kind, what = ""] = label.match(/^(\w+)(?::\s*([^]*))?$/) ?? [null, "", label];
    const name = at.words[`edit.${kind}`] ?? at.words[`act.${kind}`] ?? kind;
    return what ? `${name}: ${at.words[`edit.by.${what}`] ?? what}` : name;
  };
})();
