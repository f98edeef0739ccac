"""Automatic checks of the layout and accessibility of a page."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page


_MEASURE = """
() => {
  const root = document.documentElement;
  const shown = (element) =>
    element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) &&
    !element.closest(".visually-hidden");  // for screen readers alone
  const name = (element) => {
    const words = (element.innerText || element.value || "").trim().slice(0, 40);
    return `${element.tagName.toLowerCase()}${element.id ? "#" + element.id : ""}.${element.className} “${words}”`;
  };
  const scrolls = (element) => element.closest(".results, pre") !== null;  // the stock table of results may
  const holders = (element) => {
    const found = [];
    for (let above = element.parentElement; above; above = above.parentElement) {
      if (getComputedStyle(above).overflowX !== "visible") found.push(above.getBoundingClientRect());
    }
    return [...found, root.getBoundingClientRect()];
  };
  const carriesText = (element) =>
    [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
  const all = [...document.querySelectorAll("#content *, .messagelist *, .breadcrumbs")].filter(shown);
  const pieces = all.filter(
    (element) => carriesText(element) || element.matches("input, select, textarea, progress, button"),
  );
  const textOf = (element) => {
    const own = [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    return own.flatMap((node) => {
      const range = document.createRange();
      range.selectNodeContents(node);
      return [...range.getClientRects()];
    });
  };
  const boxes = pieces.map((element) => [
    element,
    carriesText(element) ? textOf(element) : [...element.getClientRects()],
  ]);
  const found = [];
  for (const results of document.querySelectorAll(".results")) {
    if (results.scrollWidth > results.clientWidth) found.push(`the list is ${results.scrollWidth} px wide`);
  }
  if (root.scrollWidth > root.clientWidth) found.push(`document is ${root.scrollWidth} px wide`);
  for (const [element, rects] of boxes) {
    if (scrolls(element)) continue;
    const beyond = (rect, edge) => rect.width > 1 && (rect.right > edge.right + 1 || rect.left < edge.left - 1);
    if (holders(element).some((edge) => rects.some((rect) => beyond(rect, edge)))) {
      found.push(`beyond the edge: ${name(element)}`);
    }
    const hides = ["hidden", "clip"].includes(getComputedStyle(element).overflowX);
    const cut = element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 1;
    if (cut && hides && !element.matches("input, select, textarea")) {
      found.push(`clipped: ${name(element)}`);
    }
  }
  boxes.forEach(([one, rects], index) => {
    for (const [other, others] of boxes.slice(index + 1)) {
      if (one.contains(other) || other.contains(one)) continue;
      const meet = rects.some((a) =>
        others.some(
          (b) =>
            Math.min(a.right, b.right) - Math.max(a.left, b.left) > 3 &&
            Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3,
        ),
      );
      if (meet) found.push(`overlap: ${name(one)} and ${name(other)}`);
    }
  });
  for (const element of document.querySelectorAll("input:not([type=hidden]), select, textarea, progress")) {
    const labelled =
      element.labels?.length || element.ariaLabel || element.getAttribute("aria-labelledby") || element.title;
    const speaks = ["submit", "button"].includes(element.type) && element.value;
    if (shown(element) && !labelled && !speaks) found.push(`without a label: ${name(element)}`);
  }
  return found;
}
"""


def flaws(page: "Page") -> list[str]:
    """What overflows, is clipped, overlaps or has no label; empty if there is nothing."""
    measured: list[str] = page.evaluate(_MEASURE)
    return measured


def barriers(page: "Page") -> list[str]:
    """The violations of WCAG 2.1 A and AA that axe-core finds, one line per element."""
    from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415 # installed by `make browser` alone

    options = {
        "preload": False,  # it would write styles into the page, against the policy
        "resultTypes": ["violations"],  # to list all elements that passed takes longer than to find these
        "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"],
        "rules": {"link-in-text-block": {"enabled": False}},  # the stock admin knows links by their colour alone
    }
    violations = Axe().run(page, options=options).response["violations"]
    return [f"{each['id']}: {' '.join(map(str, node['target']))}" for each in violations for node in each["nodes"]]
