// Updates each element with `data-progress-url` until the work that it shows has ended. The server answers with
// {"finished": bool, "value": int|null, "max": int|null, "text": str, "fields": {name: str}}.
"use strict";
(() => {
  const INTERVAL = 2000, LONGEST = 60000, BETWEEN_WORDS = 5000, PATIENCE = 10000; // milliseconds

  class Refused extends Error {}

  async function ask(url) {
    const response = await fetch(url, {
      headers: { Accept: "application/json" },
      redirect: "manual", // to the login page
      cache: "no-store",
      signal: AbortSignal.timeout(PATIENCE),
    });
    if (response.type === "opaqueredirect" || [401, 403, 404].includes(response.status)) throw new Refused();
    if (!response.ok) throw new Error(`status ${response.status}`);
    return response.json();
  }

  function write(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  class Progress {
    constructor(element) {
      this.url = element.dataset.progressUrl;
      this.bar = element.querySelector("progress");
      this.text = element.querySelector("[data-progress-text]");
      this.aloud = element.querySelector("[data-progress-aloud]");
      this.unreachable = element.querySelector("[data-progress-unreachable]");
      this.refused = element.querySelector("[data-progress-refused]");
      this.pause = INTERVAL;
      this.spokenAt = 0;
      this.timer = null;
      this.isAsking = false;
    }

    watch() {
      document.addEventListener("visibilitychange", () => (document.hidden ? this.rest() : this.renew()));
      if (!document.hidden) this.renewLater();
    }

    rest() {
      clearTimeout(this.timer);
    }

    renewLater() {
      this.rest();
      this.timer = setTimeout(() => this.renew(), this.pause);
    }

    async renew() {
      if (this.isAsking) return;
      this.rest();
      this.isAsking = true;
      try {
        this.show(await ask(this.url));
      } catch (error) {
        this.pause = Math.min(2 * this.pause, LONGEST);
        this.tell(error instanceof Refused ? this.refused : this.unreachable);
      } finally {
        this.isAsking = false;
      }
      if (!document.hidden) this.renewLater();
    }

    show(progress) {
      if (progress.finished) return location.reload();
      this.pause = INTERVAL;
      this.tell(null);
      this.fill(progress);
      write(this.text, progress.text);
      this.speak(progress.text);
      for (const [name, text] of Object.entries(progress.fields)) {
        const places = `[data-field="${name}"], .field-${name}:not(:has(.field-${name})) .readonly`;
        for (const field of document.querySelectorAll(places)) write(field, text); // of our own, of the stock page
      }
    }

    fill({ value, max }) {
      if (value === null || max === null) return this.bar.removeAttribute("value");
      this.bar.max = max;
      this.bar.value = value;
    }

    // Screen readers read each change aloud.
    speak(text) {
      if (Date.now() - this.spokenAt < BETWEEN_WORDS) return;
      this.spokenAt = Date.now();
      write(this.aloud, text);
    }

    tell(trouble) {
      for (const message of [this.unreachable, this.refused]) message.hidden = message !== trouble;
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    for (const element of document.querySelectorAll("[data-progress-url]")) new Progress(element).watch();
  });
})();
