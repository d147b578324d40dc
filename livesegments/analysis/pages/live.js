// Keeps a page up to date: when the server has something new, fetches the page again and replaces
// the parts that differ. Focus, open tables and scroll positions stay, and a button pauses it.
"use strict";
(() => {
  const RETRY_MS = 3000, PAUSE_MS = 250, FOCUSABLE = "a, button, summary, input, [tabindex]";
  const status = document.getElementById("live");
  const [said, button] = [status.querySelector("span"), status.querySelector("button")];
  const shown = new Map();
  let source = null, paused = false, busy = false, due = false;

  const say = (state, text) => {
    status.dataset.state = state;
    if (said.textContent !== text) said.textContent = text;
  };

  const parts = (page) => [...page.querySelectorAll("[data-live]")].map((each) => each.id).join();

  function replace(fresh) {
    document.body.dataset.version = fresh.body.dataset.version;
    if (parts(fresh) !== parts(document)) { // such as at the first fit
      document.querySelector("main").replaceWith(fresh.querySelector("main"));
      shown.clear();
      return;
    }
    for (const old of document.querySelectorAll("[data-live]")) {
      const now = fresh.getElementById(old.id);
      if (!now || now.innerHTML === (shown.get(old.id) ?? old.innerHTML)) continue;
      shown.set(old.id, now.innerHTML);
      const all = (selector) => [...old.querySelectorAll(selector)];
      const open = all("details").map((each) => each.open);
      const left = all(".scroll").map((each) => each.scrollLeft);
      const focused = all(FOCUSABLE).indexOf(document.activeElement);
      old.replaceChildren(...now.childNodes);
      all("details").forEach((each, i) => { each.open = open[i] ?? each.open; });
      all(".scroll").forEach((each, i) => { each.scrollLeft = left[i] ?? 0; });
      if (focused >= 0) all(FOCUSABLE)[focused]?.focus({ preventScroll: true });
    }
  }

  async function refresh() {
    if (busy) { due = true; return; }
    busy = true;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.redirected) location.reload(); // the session has ended
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (fresh.body.dataset.version && !paused) replace(fresh);
    } catch { // the stream of events reports it, and tries again
    }
    setTimeout(() => {
      busy = false;
      if (due) { due = false; refresh(); }
    }, PAUSE_MS);
  }

  function stop() {
    source?.close();
    source = null;
  }

  function start() {
    if (source || paused || document.hidden) return;
    source = new EventSource("/live");
    source.onopen = () => say("on", "Live");
    source.onmessage = (event) => {
      if (event.data !== document.body.dataset.version) refresh();
    };
    source.onerror = () => {
      say("off", "No connection: these are the last figures");
      if (source?.readyState === EventSource.CLOSED) {
        stop();
        setTimeout(start, RETRY_MS);
      }
    };
  }

  button.hidden = false;
  button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = paused ? "Resume" : "Pause";
    say(paused ? "paused" : "off", paused ? "Paused" : "Connecting");
    if (paused) stop(); else start();
  });
  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : start()));
  start();
})();
