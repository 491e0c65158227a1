// A drop zone: uploads files one after another, hands their paths to the server, and says what came of it.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h, icon } = at;
  const LARGE = 10 * 2 ** 20; // bytes; below it a count of files says enough
  const OTHERS = [".txt", ".caption", ".csv", ".tsv", ".jsonl", ".json", ".zip"];

  at.widgets.drop = ({ root, props, server }) => {
    // the folder is another one afterwards: both forms and the thumbnails follow
    const zone = new at.DropZone({ limits: props.value, id: "drop-input", send: (paths) => server.add(paths), done: () => at.act("look", ""), rule: t("drop.rule") });
    root.append(zone.element);
  };

  at.DropZone = class {
    // send([[path on the server, place]]): {folder, pictures ...} or {error}; done(answer); limits: {files, bytes, endings: of pictures};
    // id: of the input; rule: what becomes of the files
    constructor({ limits, send, done, id, rule = "" }) {
      Object.assign(this, { limits, deliver: send, done, busy: false });
      const input = (options, label) => h("input", { type: "file", class: "visually-hidden", multiple: true, "aria-label": label, onchange: (event) => this.chosen(event.target), ...options });
      const files = input({ id, accept: ["image/*", ...limits.endings, ...OTHERS].join() }, t("drop.choose"));
      const folder = input({ id: `${id}-folder`, webkitdirectory: true }, t("drop.choose_folder"));
      this.word = h("span", { text: t("drop.zone") });
      this.zone = h("div", { class: "drop" }, icon("upload"), this.word, at.button(t("drop.choose"), null, () => this.busy || files.click()), at.button(t("drop.choose_folder"), null, () => this.busy || folder.click()), files, folder);
      this.bar = h("span", { class: "bar", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100", hidden: true });
      this.said = h("p", { class: "drop-said", role: "status" });
      this.element = h("div", { class: "drop-box" }, this.zone, this.bar, h("p", { class: "drop-rule", text: t("drop.kinds") }), rule ? h("p", { class: "drop-rule", text: rule }) : null, this.said);
      this.zone.addEventListener("dragover", (event) => { event.preventDefault(); this.over(true); });
      this.zone.addEventListener("dragleave", () => this.over(false));
      this.zone.addEventListener("drop", async (event) => {
        event.preventDefault();
        this.over(false);
        this.take(await at.droppedFiles(event.dataTransfer));
      });
    }

    over(on) {
      const lit = on && !this.busy;
      this.zone.toggleAttribute("data-over", lit);
      this.word.textContent = t(lit ? "drop.here" : "drop.zone");
    }

    chosen(input) {
      this.take([...input.files].map((file) => ({ file, place: folderOf(file.webkitRelativePath) })));
      input.value = "";
    }

    // found: [{file, place}], place being the folder that the file lay in
    async take(found) {
      if (this.busy || !found.length) return;
      const bytes = found.reduce((sum, { file }) => sum + file.size, 0);
      if (found.length > this.limits.files) return this.say(t("drop.too_many", { n: found.length, max: this.limits.files }), "danger");
      if (bytes > this.limits.bytes) return this.say(t("drop.too_large", { size: at.gb(bytes / 2 ** 30) }), "danger");
      this.setBusy(true);
      try {
        const paths = await this.send(found, bytes);
        if (!paths) return;
        this.say(t("drop.working"));
        const answer = await this.deliver(paths);
        if (!answer || answer.error) return this.say(answer?.error ?? t("common.no_answer"), "danger");
        this.say(summary(answer));
        this.done(answer);
      } finally {
        this.setBusy(false);
      }
    }

    // [path on the server, place] of each file; null when one could not be sent
    async send(found, bytes) {
      const paths = [];
      let sent = 0;
      for (const { file, place } of found) {
        const doing = t("drop.sending", { done: paths.length + 1, total: found.length, name: file.name });
        const come = (part) => {
          this.say(bytes < LARGE ? doing : `${doing} (${at.gb((sent + part) / 2 ** 30)} / ${at.gb(bytes / 2 ** 30)})`);
          this.progress((100 * (sent + part)) / Math.max(1, bytes));
        };
        come(0);
        try {
          paths.push([await uploaded(file, come), place]);
        } catch {
          this.say(t("drop.failed", { name: file.name }), "danger");
          return null;
        }
        sent += file.size;
      }
      return paths;
    }

    setBusy(on) {
      this.busy = on;
      this.zone.toggleAttribute("data-busy", on);
      this.bar.hidden = !on;
      this.progress(0);
    }

    progress(percent) {
      this.bar.style.setProperty("--part", `${percent}%`);
      this.bar.setAttribute("aria-valuenow", String(Math.round(percent)));
    }

    say(text, kind = "") {
      this.said.textContent = text;
      this.said.className = `drop-said ${kind}`;
    }
  };

  // Path of a file on the server, by Gradio's own route, whose `upload` would tell nothing before all is there.
  // come(bytes): that were sent so far
  function uploaded(file, come) {
    const { root, api_prefix: prefix } = window.gradio_config;
    return new Promise((done, fail) => {
      const request = new XMLHttpRequest();
      request.open("POST", `${root}${prefix}/upload`);
      request.responseType = "json";
      request.upload.onprogress = ({ loaded }) => come(Math.min(loaded, file.size)); // the form around it counts too
      request.onload = () => (request.status === 200 && request.response?.[0] ? done(request.response[0]) : fail(new Error(`status ${request.status}`)));
      request.onerror = () => fail(new Error("no answer"));
      const form = new FormData();
      form.append("files", file);
      request.send(form);
    });
  }

  // A file beside the zone would make the browser leave the page.
  for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => { if (event.dataTransfer?.types.includes("Files")) event.preventDefault(); });

  // "dogs/a.png" lay in "/dogs", as a dropped folder says it
  const folderOf = (path) => (path.includes("/") ? `/${path.slice(0, path.lastIndexOf("/"))}` : "");

  // Files of a drop, those in dropped folders included: [{file, place}].
  at.droppedFiles = async (transfer) => {
    // both are asked for at once: after the first wait the browser has emptied the list
    const items = [...transfer.items].filter((item) => item.kind === "file").map((item) => [item.webkitGetAsEntry(), item.getAsFile()]);
    const found = [];
    for (const [entry, file] of items) {
      if (entry) await walk(entry, "", found);
      else found.push({ file, place: "" });
    }
    return found;
  };

  async function walk(entry, place, found) {
    if (entry.isFile) return found.push({ file: await new Promise((done, fail) => entry.file(done, fail)), place });
    const reader = entry.createReader();
    for (;;) { // a reader gives at most 100 entries at a time
      const part = await new Promise((done, fail) => reader.readEntries(done, fail));
      if (!part.length) return;
      for (const inner of part) await walk(inner, `${place}/${entry.name}`, found);
    }
  }

  const some = (n, one, many) => (n === 1 ? t(one) : n ? t(many, { n }) : "");

  function summary(answer) {
    const what = [some(answer.pictures, "drop.picture", "drop.pictures"), some(answer.captions, "drop.caption", "drop.captions"), some(answer.tables, "drop.table", "drop.tables")].filter(Boolean).join(", ");
    const names = answer.named.join(", ") + (answer.left_out > answer.named.length ? " ..." : "");
    return [
      t("drop.added", { folder: answer.folder, what: what || t("drop.nothing") }),
      answer.known ? t("drop.known", { n: answer.known }) : "",
      answer.left_out ? t("drop.left_out", { n: answer.left_out, names }) : "",
    ].filter(Boolean).join(" ");
  }

  at.dropSummary = summary;
})();
