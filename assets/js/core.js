// What every widget uses: words, elements, numbers as people read them, polling, toasts, dialogs.
// Text from outside is only ever set as textContent.
window.atelier ??= (() => {
  "use strict";
  const words = {};
  const widgets = {}; // name -> function({element, props, trigger, server, watch})
  const listeners = {};
  const last = {}; // name of an event -> its latest data, for widgets that mount later

  function t(key, values = {}) {
    const text = words[key] ?? key;
    return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
  }

  function h(tag, options = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(options)) {
      if (value === undefined || value === null || value === false) continue;
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (name === "data") Object.assign(element.dataset, value);
      else if (name === "style") Object.entries(value).forEach(([property, setting]) => element.style.setProperty(property, setting));
      else if (name === "text") element.textContent = value;
      else if (name === "class") element.className = value;
      else element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return element;
  }

  const icon = (name) => h("i", { class: `icon icon-${name}`, "aria-hidden": "true" });

  function button(label, iconName, onclick, kind = "") {
    return h("button", { type: "button", class: `button ${kind}`, onclick }, iconName ? icon(iconName) : null, h("span", { text: label }));
  }

  function iconButton(label, iconName, onclick) {
    return h("button", { type: "button", class: "icon-button", title: label, "aria-label": label, onclick }, icon(iconName));
  }

  function on(name, listen) {
    (listeners[name] ??= []).push(listen);
    if (name in last) listen(last[name]);
  }

  function emit(name, data) {
    last[name] = data;
    for (const listen of listeners[name] ?? []) listen(data);
  }

  function mount(name, parts) {
    Object.assign(words, parts.props.words);
    const root = parts.element.querySelector(".at") ?? parts.element;
    widgets[name]({ ...parts, root });
  }

  // Calls `ask` again and again while the element can be seen. `ask` returns the milliseconds to wait, or nothing for `pause`.
  function poller(element, pause, ask) {
    let busy = false;
    let due = 0;
    async function turn() {
      if (!element.isConnected) return clearInterval(timer);
      if (busy || document.hidden || !element.getClientRects().length || performance.now() < due) return;
      busy = true;
      try {
        due = performance.now() + ((await ask()) ?? pause);
      } finally {
        busy = false;
      }
    }
    const timer = setInterval(turn, 100);
    turn();
    return { now: () => { due = 0; turn(); } };
  }

  // ---------------------------------------------------------------- numbers
  function time(seconds) {
    if (seconds === null || seconds === undefined || !isFinite(seconds)) return "-";
    const s = Math.round(seconds);
    if (s < 60) return t("common.s", { s });
    if (s < 3600) return s % 60 ? t("common.min_s", { m: Math.floor(s / 60), s: s % 60 }) : t("common.min", { m: s / 60 });
    return t("common.h_min", { h: Math.floor(s / 3600), m: Math.round((s % 3600) / 60) });
  }

  function gb(gib) {
    if (gib === null || gib === undefined) return "-";
    return gib < 0.1 ? `${Math.max(1, Math.round(gib * 1024))} MB` : `${gib.toFixed(1)} GB`;
  }

  function number(value) {
    if (value === null || value === undefined || !isFinite(value)) return "-";
    const magnitude = Math.abs(value);
    if (magnitude && (magnitude < 1e-3 || magnitude >= 1e6)) return value.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e");
    return magnitude >= 100 ? value.toFixed(0) : magnitude >= 10 ? value.toFixed(1) : String(+value.toPrecision(4));
  }

  // a path, an id or a file keeps its spelling
  const sentence = (text) => (/^\S*[/._]\S/.test(text) ? text : text.charAt(0).toUpperCase() + text.slice(1));

  // created: seconds since 1970, or a text that Date can read
  function when(created) {
    const moment = typeof created === "number" ? new Date(created * 1000) : new Date(created);
    const seconds = (Date.now() - moment) / 1000;
    if (isNaN(seconds)) return "";
    if (seconds < 60) return t("common.now");
    if (seconds < 3600) return t("common.ago", { time: t("common.min", { m: Math.floor(seconds / 60) }) });
    if (seconds < 86400) return t("common.ago", { time: t("common.h", { h: Math.floor(seconds / 3600) }) });
    return moment.toLocaleDateString(document.documentElement.lang, { month: "short", day: "numeric" });
  }

  // ---------------------------------------------------------------- acts
  // action: [label, onclick] makes the toast stay until it is used or closed.
  function toast(text, kind = "", action = null) {
    if (!text) return;
    const list = document.getElementById("at-toasts") ?? document.body.appendChild(h("div", { id: "at-toasts", role: "status", "aria-live": "polite" }));
    const line = h("div", { class: `toast ${kind}` }, icon(kind === "danger" ? "problem" : "ok"), h("span", { text }));
    list.append(line);
    if (action) line.append(h("span", { class: "grow" }), h("button", { type: "button", class: "link", text: action[0], onclick: () => { line.remove(); action[1](); } }), h("button", { type: "button", class: "link toast-close", "aria-label": t("common.close"), text: "\u00d7", onclick: () => line.remove() }));
    else setTimeout(() => line.remove(), kind === "danger" ? 9000 : 4500);
    return line;
  }

  // A dialog that Esc closes. actions: [label, kind, onclick], where onclick may return false to stay open.
  function dialog(title, body, actions) {
    const close = () => { box.close(); box.remove(); };
    const buttons = actions.map(([label, kind, act]) => button(label, null, async () => { if ((await act?.()) !== false) close(); }, kind));
    const box = h("dialog", { class: "dialog", "aria-label": title }, h("h2", { text: title }), body, h("footer", {}, buttons));
    box.addEventListener("close", () => box.remove());
    box.addEventListener("click", (event) => { if (event.target === box) close(); });
    document.body.append(box);
    box.showModal();
    return close;
  }

  async function copy(text, done) {
    try {
      await navigator.clipboard.writeText(text);
    } catch { // no clipboard on plain http from another machine
      const box = document.body.appendChild(h("textarea", { class: "off-screen" }));
      box.value = text;
      box.select();
      document.execCommand("copy");
      box.remove();
    }
    toast(done ?? t("common.copied"));
  }

  function download(name, blob) {
    const url = URL.createObjectURL(blob);
    h("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }

  const save = (key, value) => { try { localStorage.setItem(`atelier-${key}`, value); } catch { /* private window: the setting lives as long as the page */ } };
  const load = (key) => { try { return localStorage.getItem(`atelier-${key}`); } catch { return null; } };

  return { words, widgets, t, h, icon, button, iconButton, on, emit, mount, poller, time, gb, number, sentence, when, toast, dialog, copy, download, save, load };
})();
