// Renews a page with an element marked with `data-progress` until the work that it shows has ended: requests the page
// again and takes from it each part marked with `data-renewed`, and the stock page's read-only fields.
"use strict";
(() => {
  const INTERVAL = 2000, LONGEST = 60000, BETWEEN_WORDS = 5000, PATIENCE = 10000; // milliseconds
  const PARTS = "[data-renewed], .readonly";

  class Refused extends Error {}

  async function ask() {
    const response = await fetch(location.href, {
      headers: { "X-Orq-Renewal": "1" },
      redirect: "manual", // to the login page
      cache: "no-store",
      signal: AbortSignal.timeout(PATIENCE),
    });
    if (response.type === "opaqueredirect" || [401, 403, 404].includes(response.status)) throw new Refused();
    if (!response.ok) throw new Error(`status ${response.status}`);
    return new DOMParser().parseFromString(await response.text(), "text/html");
  }

  class Progress {
    constructor(element) {
      this.aloud = element.querySelector("[data-progress-aloud]");
      this.unreachable = element.querySelector("[data-progress-unreachable]");
      this.refused = element.querySelector("[data-progress-refused]");
      this.element = element;
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
        this.show(await ask());
      } catch (error) {
        this.pause = Math.min(2 * this.pause, LONGEST);
        this.tell(error instanceof Refused ? this.refused : this.unreachable);
      } finally {
        this.isAsking = false;
      }
      if (!document.hidden) this.renewLater();
    }

    show(page) {
      const [ours, theirs] = [document, page].map((each) => each.querySelectorAll(PARTS));
      if (!page.querySelector("[data-progress]") || ours.length !== theirs.length) return location.reload();
      this.pause = INTERVAL;
      this.tell(null);
      theirs.forEach((part, number) => {
        if (ours[number].innerHTML !== part.innerHTML) ours[number].replaceChildren(...part.childNodes);
      });
      this.speak(this.element.querySelector("[data-progress-text]").textContent);
    }

    // Screen readers read each change aloud.
    speak(text) {
      if (Date.now() - this.spokenAt < BETWEEN_WORDS || this.aloud.textContent === text) return;
      this.spokenAt = Date.now();
      this.aloud.textContent = text;
    }

    tell(trouble) {
      for (const message of [this.unreachable, this.refused]) message.hidden = message !== trouble;
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    for (const element of document.querySelectorAll("[data-progress]")) new Progress(element).watch();
  });
})();
