// The state of the draft: one record from the server (app/ui/state.py) that marks the fields and feeds the other widgets.
(() => {
  "use strict";
  const at = window.atelier;
  const { t, h } = at;
  let record = null;

  at.widgets.state = ({ props, trigger, watch }) => {
    at.act = (action, value) => trigger("act", { do: action, value });
    const take = () => {
      if (!props.value?.toml && !props.value?.errors) return;
      record = props.value;
      at.emit("form", record);
      mark();
      if (record.toast) at.toast(record.toast, record.refused ? "danger" : "");
      if (record.refused) showFirstError();
      if (record.waiting) setTimeout(() => at.act("look", ""), 1000); // the folder is still being read
      if (record.started) {
        at.emit("started", record.started);
        at.go("runs", record.started);
      }
    };
    watch("value", take);
    take();
    // fields appear late (a tab that is opened for the first time): mark them then
    let planned = false;
    new MutationObserver(() => {
      if (planned) return;
      planned = true;
      requestAnimationFrame(() => { planned = false; mark(); });
    }).observe(document.getElementById("rail") ?? document.body, { childList: true, subtree: true });
  };

  const pathOf = (id) => id.slice(2).replace("-", "."); // x-data-folder: the section has no dash
  const fields = () => document.querySelectorAll('.field[id^="x-"], .field[id^="t-"]');

  function mark() {
    if (!record) return;
    for (const field of fields()) {
      const path = pathOf(field.id);
      const changed = field.id.startsWith("x-") && record.modified.includes(path);
      setError(field, at.sentence(record.errors[path] ?? ""));
      field.toggleAttribute("data-modified", changed);
      setReset(field, path, changed);
      if (!field.id.startsWith("x-")) continue;
      setResolved(field, record.resolved[path] ?? "");
      field.toggleAttribute("data-unfit", path in record.hidden);
    }
  }

  // One child of ours per purpose; touched only when it changes, so that the observer comes to rest.
  function piece(field, name, wanted, make) {
    const found = field.querySelector(`:scope > .${name}`);
    if (!wanted) return found?.remove();
    const element = found ?? field.appendChild(make());
    return element;
  }

  function setError(field, message) {
    const line = piece(field, "field-error", message, () => h("p", { class: "field-error", role: "alert" }));
    if (line && line.textContent !== message) line.textContent = message;
    field.toggleAttribute("data-error", Boolean(message));
    for (const input of field.querySelectorAll("input, textarea")) {
      if (input.getAttribute("aria-invalid") !== String(Boolean(message))) input.setAttribute("aria-invalid", String(Boolean(message)));
    }
  }

  function setReset(field, path, changed) {
    const label = changed ? t("state.reset", { value: record.defaults[path] || t("state.empty") }) : "";
    const reset = piece(field, "field-reset", changed, () => at.iconButton(label, "reset", () => at.act("reset", path)));
    if (!reset) return;
    reset.classList.add("field-reset");
    if (reset.title !== label) { reset.title = label; reset.setAttribute("aria-label", label); }
  }

  function setResolved(field, value) {
    const ghost = piece(field, "field-ghost", value, () => h("span", { class: "field-ghost" }));
    const text = `= ${value}`;
    if (ghost && ghost.textContent !== text) ghost.textContent = text;
  }

  function showFirstError() {
    const first = document.querySelector(".field[data-error]:not([hidden])") ;
    const seen = [...document.querySelectorAll(".field[data-error]")].find((field) => field.getClientRects().length) ?? first;
    seen?.scrollIntoView({ block: "center", behavior: "smooth" });
    seen?.querySelector("input, textarea")?.focus({ preventScroll: true });
  }
})();
