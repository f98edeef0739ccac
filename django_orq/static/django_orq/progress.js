// Updates each element with `data-progress-url` until the work that it shows has ended. The server answers with
// {"finished": bool, "done": int, "total": int|null, "text": str, "fields": {name: str}}, and for a run also with
// "intervals": [{"label": str, "done": int, "total": int}].
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

  function fill(bar, { done, total }) {
    if (!total) return bar.removeAttribute("value");
    bar.max = total;
    bar.value = done;
  }

  // As in the template.
  function emptyInterval(_interval, number) {
    const [item, label, bar] = ["li", "label", "progress"].map((name) => document.createElement(name));
    label.htmlFor = bar.id = `orq-interval-${number}`;
    item.append(label, " ", bar);
    return item;
  }

  class Progress {
    constructor(element) {
      this.url = element.dataset.progressUrl;
      this.bar = element.querySelector("progress");
      this.intervals = element.querySelector("[data-progress-intervals]");
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
      fill(this.bar, progress);
      this.showIntervals(progress.intervals ?? []);
      write(this.text, progress.text);
      this.speak(progress.text);
      for (const [name, text] of Object.entries(progress.fields)) {
        const places = `[data-field="${name}"], .field-${name}:not(:has(.field-${name})) .readonly`;
        for (const field of document.querySelectorAll(places)) write(field, text); // of our own, of the stock page
      }
    }

    showIntervals(intervals) {
      const list = this.intervals.querySelector("ul");
      this.intervals.hidden = intervals.length === 0;
      if (list.children.length !== intervals.length) list.replaceChildren(...intervals.map(emptyInterval));
      intervals.forEach((interval, number) => {
        write(list.children[number].querySelector("label"), interval.label);
        fill(list.children[number].querySelector("progress"), interval);
      });
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
