// The drop zone: uploads files one after another, hands their paths to the server, and says what came of it.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h, icon } = at;
  const ACCEPT = "image/*,.avif,.txt,.caption,.zip";

  at.widgets.drop = ({ root, props, server, upload }) => {
    let busy = false;
    const input = h("input", { type: "file", class: "visually-hidden", id: "drop-input", multiple: true, accept: ACCEPT, "aria-label": t("drop.choose"), onchange: () => { take([...input.files].map((file) => ({ file, place: "" }))); input.value = ""; } });
    const word = h("span", { text: t("drop.zone") });
    const zone = h("div", { class: "drop" }, icon("upload"), word, at.button(t("drop.choose"), null, () => busy || input.click()), input);
    const bar = h("span", { class: "bar", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100", hidden: true });
    const said = h("p", { class: "drop-said", role: "status" });
    root.append(zone, bar, h("p", { class: "drop-rule", text: t("drop.rule") }), said);

    const over = (on) => { zone.toggleAttribute("data-over", on && !busy); word.textContent = t(on && !busy ? "drop.here" : "drop.zone"); };
    zone.addEventListener("dragover", (event) => { event.preventDefault(); over(true); });
    zone.addEventListener("dragleave", () => over(false));
    zone.addEventListener("drop", async (event) => {
      event.preventDefault();
      over(false);
      take(await filesOf(event.dataTransfer));
    });

    // found: [{file, place}], place being the folder that the file lay in
    async function take(found) {
      if (busy || !found.length) return;
      const bytes = found.reduce((sum, { file }) => sum + file.size, 0);
      if (found.length > props.value.files) return say(t("drop.too_many", { n: found.length, max: props.value.files }), "danger");
      if (bytes > props.value.bytes) return say(t("drop.too_large", { size: at.gb(bytes / 2 ** 30) }), "danger");
      setBusy(true);
      try {
        const paths = await send(found, bytes);
        if (!paths) return;
        say(t("drop.working"));
        const answer = await server.add(paths);
        if (!answer || answer.error) return say(answer?.error ?? t("common.no_answer"), "danger");
        say(summary(answer));
        at.act("look", ""); // the folder is another one now: both forms and the thumbnails follow
      } finally {
        setBusy(false);
      }
    }

    // [path on the server, place] of each file; null when one could not be sent
    async function send(found, bytes) {
      const paths = [];
      let sent = 0;
      for (const { file, place } of found) {
        say(t("drop.sending", { done: paths.length + 1, total: found.length, name: file.name }));
        try {
          paths.push([(await upload(file)).path, place]);
        } catch {
          say(t("drop.failed", { name: file.name }), "danger");
          return null;
        }
        sent += file.size;
        progress((100 * sent) / Math.max(1, bytes));
      }
      return paths;
    }

    function setBusy(on) {
      busy = on;
      zone.toggleAttribute("data-busy", on);
      bar.hidden = !on;
      progress(0);
    }

    function progress(percent) {
      bar.style.setProperty("--part", `${percent}%`);
      bar.setAttribute("aria-valuenow", String(Math.round(percent)));
    }

    function say(text, kind = "") {
      said.textContent = text;
      said.className = `drop-said ${kind}`;
    }
  };

  // A file beside the zone would make the browser leave the page.
  for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => { if (event.dataTransfer?.types.includes("Files")) event.preventDefault(); });

  // Files of a drop, those in dropped folders included.
  async function filesOf(transfer) {
    // both are asked for at once: after the first wait the browser has emptied the list
    const items = [...transfer.items].filter((item) => item.kind === "file").map((item) => [item.webkitGetAsEntry(), item.getAsFile()]);
    const found = [];
    for (const [entry, file] of items) {
      if (entry) await walk(entry, "", found);
      else found.push({ file, place: "" });
    }
    return found;
  }

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
    const what = [some(answer.pictures, "drop.picture", "drop.pictures"), some(answer.captions, "drop.caption", "drop.captions")].filter(Boolean).join(", ");
    const names = answer.named.join(", ") + (answer.left_out > answer.named.length ? " ..." : "");
    return [
      t("drop.added", { folder: answer.folder, what: what || t("drop.nothing") }),
      answer.known ? t("drop.known", { n: answer.known }) : "",
      answer.left_out ? t("drop.left_out", { n: answer.left_out, names }) : "",
    ].filter(Boolean).join(" ");
  }
})();
