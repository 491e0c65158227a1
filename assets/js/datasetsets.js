// Which data set is open: the choice, a dialog that browses the machine's folders, and one that makes a new set.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h, icon } = at;

  class DatasetSets {
    // opened(id): another set was chosen; zone(options): a drop zone
    constructor({ ask, opened, zone }) {
      Object.assign(this, { ask, opened, zone, list: [], draft: "", id: "" });
      this.select = h("select", { id: "ds-set", "aria-label": t("dataset.set"), onchange: () => this.choose(this.select.value) });
      this.thumb = h("img", { class: "ds-set-thumb", alt: "", hidden: true });
      this.more = h("div", { class: "actions" },
        at.button(t("dataset.add_folder"), "folder", () => this.browse()),
        at.button(t("dataset.new"), "plus", () => this.make()));
      this.forget = at.iconButton(t("dataset.forget"), "stop", () => this.askForget());
      this.fill = at.iconButton(t("dataset.fill"), "upload", () => this.drop(this.current()));
      this.element = h("div", { class: "ds-set" }, this.thumb, this.select, this.fill, this.forget, this.more);
    }

    current() {
      return this.list.find((one) => one.id === this.id) ?? null;
    }

    // Reads the list again. wanted: the set to open; without one the last one, else the draft's, else the first.
    async look(wanted = "") {
      const answer = await this.ask.sets(0);
      if (!answer) return;
      Object.assign(this, { list: answer.sets, draft: answer.draft, known: true });
      const known = (id) => this.list.some((one) => one.id === id);
      const id = [wanted, this.id, at.load("dataset"), this.draft, this.list[0]?.id ?? ""].find((one) => one && known(one)) ?? "";
      this.draw(id);
      if (id !== this.id || wanted) await this.choose(id);
    }

    draw(id = this.id) {
      this.select.replaceChildren(...this.list.map((one) => h("option", { value: one.id, text: `${one.name}${one.pictures === null ? "" : ` (${one.pictures})`}` })));
      this.select.value = id;
      this.select.hidden = !this.list.length;
      const one = this.list.find((other) => other.id === id);
      this.select.title = one?.path ?? "";
      const thumb = one?.pictures && one.thumb; // before it is read, the first file may be no picture
      this.thumb.hidden = !thumb;
      if (thumb && this.thumb.getAttribute("src") !== one.thumb) this.thumb.src = one.thumb;
      this.fill.hidden = !one || Boolean(one.locked);
      this.forget.hidden = !one?.added;
    }

    choose(id) {
      this.id = id;
      at.save("dataset", id);
      this.draw(id);
      return this.opened(id);
    }

    // A set was read: its number of pictures and its thumbnail are known now.
    count(id, pictures) {
      if (this.counted === `${id}/${pictures}`) return;
      this.counted = `${id}/${pictures}`;
      this.look();
    }

    // ---------------------------------------------------------------- a folder of this machine
    browse() {
      const path = h("input", { type: "text", class: "ds-input", "aria-label": t("dataset.path"), placeholder: t("dataset.path"), spellcheck: "false", oninput: () => { turn++; }, onkeydown: (event) => event.key === "Enter" && go(path.value) });
      let turn = 0; // an answer that comes late must not take the place of what was asked or typed since
      const places = h("nav", { class: "ds-places" });
      const folders = h("div", { class: "ds-folders" });
      const said = h("p", { class: "ds-said", role: "status" });
      const body = h("div", { class: "ds-browse" }, h("div", { class: "ds-path" }, path, at.button(t("dataset.go"), null, () => go(path.value))), h("div", { class: "ds-browse-columns" }, places, folders), said);
      at.dialog(t("dataset.add_folder"), body, [[t("common.cancel"), ""], [t("dataset.use_folder"), "primary", () => this.add(path.value.trim(), said)]]);
      const row = (label, to, name, pictures = null) => h("button", { type: "button", class: "ds-folder", onclick: () => go(to) }, icon(name), h("span", { text: label }), pictures ? h("b", { text: t(pictures === 1 ? "dataset.n_pictures_1" : "dataset.n_pictures", { n: pictures }) }) : null);
      const go = async (to) => {
        const mine = ++turn;
        const answer = await this.ask.browse(to.trim());
        if (mine !== turn) return;
        said.textContent = answer ? (answer.error ?? "") : t("common.no_answer");
        if (!answer || answer.error) return;
        path.value = answer.path;
        places.replaceChildren(...answer.places.map((place) => row(place.name, place.path, "folder")));
        const up = answer.parent ? [row("..", answer.parent, "left")] : [];
        folders.replaceChildren(...up, ...answer.folders.map((one) => row(one.name, one.path, "folder", one.pictures >= 1000 ? "1000+" : one.pictures)));
        if (!answer.folders.length) folders.append(h("p", { class: "muted pad", text: t("dataset.no_folders") }));
      };
      go("");
    }

    async add(path, said) {
      const answer = await this.ask.add_folder(path);
      if (!answer?.id) {
        said.textContent = answer?.error ?? t("common.no_answer");
        return false;
      }
      await this.look(answer.id);
    }

    // Pictures that came with the program, as a set that may be changed.
    async copy() {
      const answer = await this.ask.copy_set(this.id);
      if (!answer?.id) return void at.toast(answer?.error ?? t("common.no_answer"), "danger");
      await this.look(answer.id);
      at.toast(t("dataset.copied", { name: this.current().name }));
    }

    askForget() {
      const one = this.current();
      at.dialog(t("dataset.forget_title", { name: one.name }), h("p", { text: t("dataset.forget_note") }), [[t("common.cancel"), ""], [t("dataset.forget"), "primary", async () => {
        const answer = await this.ask.forget(one.id);
        if (!answer || answer.error) at.toast(answer?.error ?? t("common.no_answer"), "danger");
        this.id = "";
        await this.look();
      }]]);
    }

    // ---------------------------------------------------------------- dropped pictures
    make() {
      const name = h("input", { type: "text", class: "ds-input", id: "ds-name", placeholder: t("dataset.name_hint"), "aria-label": t("dataset.name"), maxlength: "100" });
      this.drop(null, h("label", { class: "ds-label" }, h("span", { text: t("dataset.name") }), name), async () => {
        const answer = name.value.trim() ? await this.ask.create(name.value.trim()) : { id: "" };
        name.disabled = Boolean(answer?.id);
        return answer;
      });
    }

    // set: the one to fill, or null for a new one, which `made` makes: {id}, "" to name it by what is dropped, or {error}.
    drop(set, head = null, made = null) {
      let target = set?.id ?? null;
      const send = async (paths) => {
        if (target === null) {
          const answer = await made();
          if (answer?.id === undefined) return answer;
          target = answer.id;
        }
        const answer = await this.ask.fill([paths, target]);
        if (answer?.id) target = answer.id;
        return answer;
      };
      const zone = this.zone({ send, done: (answer) => { close(); at.toast(at.dropSummary(answer)); this.look(answer.id); }, id: "ds-drop" });
      const close = at.dialog(set ? t("dataset.fill_title", { name: set.name }) : t("dataset.new_title"), h("div", { class: "ds-new" }, ...[head, zone.element].filter(Boolean)), [[t("common.close"), ""]]);
      return zone;
    }
  }

  at.DatasetSets = DatasetSets;
})();
