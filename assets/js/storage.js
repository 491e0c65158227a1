// What cached files take on disk, as a quiet line, and the dialog that frees the room.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h, icon } = at;
  const PAUSE = 15_000; // milliseconds
  const BUSY_PAUSE = 500;

  at.widgets.storage = ({ root, server }) => new Storage(root, server);

  const size = (bytes) => (bytes ? at.gb(bytes / 2 ** 30) : "0 MB");
  const files = (n) => at.some("storage.n_files", n).replace(String(n), n.toLocaleString(document.documentElement.lang));

  class Storage {
    constructor(root, ask) {
      Object.assign(this, { ask, record: null, days: 30 });
      this.said = h("span", { role: "status", text: t("storage.counting") });
      this.button = at.button(t("storage.free"), null, () => this.open(), "small");
      this.button.id = "storage-free";
      this.button.hidden = true;
      root.append(h("footer", { class: "storage" }, icon("save"), this.said, this.button));
      this.polling = at.poller(root, PAUSE, () => this.look());
    }

    async look() {
      const record = await this.ask.cached(0);
      if (record) this.take(record);
      return record?.busy ? BUSY_PAUSE : PAUSE;
    }

    take(record) {
      this.record = record;
      this.said.textContent = record.error || (record.known ? t("storage.cache", { size: record.bytes ? size(record.bytes) : t("storage.empty") }) : t("storage.counting"));
      this.button.hidden = !record.bytes;
      if (this.body?.isConnected) this.draw();
    }

    open() {
      this.body = h("div", { class: "storage-body" });
      at.dialog(t("storage.title"), this.body, [[t("common.cancel"), ""], [t("storage.free"), "primary", () => this.free()]]);
      this.draw();
      this.polling.now();
    }

    draw() {
      const { kinds, choices, busy, working } = this.record;
      const cell = (text) => h("td", { text });
      const head = ["kind", "size", "files", "last"].map((name) => h("th", { scope: "col", text: t(`storage.${name}`) }));
      const rows = kinds.map((one) => h("tr", {}, h("th", { scope: "row", text: t(`storage.kind.${one.kind}`) }), cell(size(one.bytes)), cell(one.files.toLocaleString(document.documentElement.lang)), cell(this.ago(one.idle_days))));
      const chosen = choices.find(({ days }) => days === this.days);
      const refused = working && !this.days;
      this.body.replaceChildren(
        h("table", { class: "storage-kinds" }, h("thead", {}, h("tr", {}, head)), h("tbody", {}, rows)),
        h("fieldset", { class: "storage-choices" }, h("legend", { text: t("storage.remove") }), choices.map((choice) => this.choice(choice))),
        h("p", { class: refused ? "storage-refused" : "muted", role: "status", text: t(busy === "freeing" ? "storage.freeing" : refused ? "storage.in_use" : "storage.note") }));
      this.body.closest("dialog").querySelector("footer .primary").disabled = Boolean(busy) || refused || !chosen.files;
    }

    choice({ days, files: n, bytes }) {
      const input = h("input", { type: "radio", name: "storage-days", value: String(days), onchange: () => { this.days = days; this.draw(); this.body.querySelector(`[value="${days}"]`).focus(); } });
      input.checked = days === this.days;
      return h("label", {}, input, h("span", { text: days ? t("storage.older", { n: days }) : t("storage.all") }), h("b", { text: n ? t("storage.frees", { size: size(bytes), files: files(n) }) : t("storage.nothing") }));
    }

    ago(days) {
      return days < 1 ? t("storage.today") : at.some("storage.days", Math.floor(days));
    }

    // Stays open while it works; Esc closes the dialog, not the work.
    async free() {
      let record = await this.ask.free_cached(this.days);
      while (record?.busy) {
        this.take(record);
        await new Promise((done) => setTimeout(done, BUSY_PAUSE));
        record = await this.ask.cached(0);
      }
      const error = record ? record.error : t("common.no_answer");
      if (error || !record.freed) {
        at.toast(error || t("common.no_answer"), "danger");
        return;
      }
      this.take(record);
      at.toast(t("storage.freed", { size: size(record.freed.bytes), files: files(record.freed.files) }));
    }
  }
})();
