"use strict";
// The gallery of disagreements: filters, order, and a keyboard that moves from card to card.
{
  const AT_ONCE = 96;
  const filters = document.getElementById("filters");
  const list = document.getElementById("cards");
  const more = document.getElementById("more");
  const shownNow = document.getElementById("shown");
  const all = list ? [...list.children] : [];
  let matching = all;
  let revealed = AT_ONCE;

  const number = (card, name) => Number(card.dataset[name]);
  const orders = {
    label: (a, b) => number(b, "wrong") - number(a, "wrong"),
    teacher: (a, b) => number(a, "wrong") - number(b, "wrong"),
    sure: (a, b) => number(b, "confidence") - number(a, "confidence"),
    index: (a, b) => number(a, "index") - number(b, "index"),
  };

  function reveal() {
    matching.forEach((card, place) => { card.hidden = place >= revealed; });
    const count = Math.min(revealed, matching.length);
    const words = [`Showing ${count < matching.length ? "the first " : ""}${count.toLocaleString("en")}`];
    if (count < matching.length) words.push(`of ${matching.length.toLocaleString("en")}`);
    if (matching.length < all.length) words.push(`that fit, of ${all.length.toLocaleString("en")}`);
    shownNow.textContent = `${words.join(" ")}.`;
    more.hidden = count === matching.length;
  }

  function apply() {
    const asked = new FormData(filters);
    const least = Number(asked.get("least") || 0) / 100;
    const most = Number(asked.get("most") || 100) / 100;
    matching = all.filter((card) =>
      (asked.get("verdict") === "all" || card.dataset.verdict === asked.get("verdict"))
      && (asked.get("pair") === "all" || card.dataset.pair === asked.get("pair"))
      && number(card, "confidence") >= least && number(card, "confidence") <= most);
    matching.sort(orders[asked.get("order")]);
    for (const card of all) card.hidden = true;
    list.append(...matching);
    revealed = AT_ONCE;
    reveal();
  }

  function goTo(place) {
    if (!matching.length) return;
    const card = matching[Math.max(0, Math.min(place, matching.length - 1))];
    while (matching.indexOf(card) >= revealed) revealed += AT_ONCE;
    reveal();
    card.focus();
  }

  function columns() {
    const top = matching.length ? matching[0].offsetTop : 0;
    const first = matching.slice(0, revealed).findIndex((card) => card.offsetTop !== top);
    return first < 0 ? matching.length : first;
  }

  function pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.closest("input:not([type=radio]), select, textarea");
    const current = matching.indexOf(document.activeElement);
    const arrows = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns(), ArrowUp: -columns() };
    if (typing) {
      if (event.key !== "Escape") return;
      goTo(0);
    } else if (event.key === "j" || event.key === "k") {
      goTo(current < 0 ? 0 : current + (event.key === "j" ? 1 : -1));
    } else if (current >= 0 && event.key in arrows) {
      goTo(current + arrows[event.key]);
    } else if (["0", "1", "2", "3"].includes(event.key)) {
      filters.elements.verdict.value = event.key === "0" ? "all" : String(Number(event.key) - 1);
      apply();
    } else if (event.key === "/") {
      filters.elements.pair.focus();
    } else {
      return;
    }
    event.preventDefault();
  }

  function showPair(event) {
    filters.reset();
    filters.elements.pair.value = event.currentTarget.dataset.pair;
    apply();
  }

  if (all.length) {
    filters.hidden = false;
    filters.addEventListener("input", apply);
    filters.addEventListener("reset", () => setTimeout(apply));
    filters.addEventListener("submit", (event) => event.preventDefault());
    more.addEventListener("click", () => { revealed += AT_ONCE; reveal(); });
    document.addEventListener("keydown", pressed);
    for (const link of document.querySelectorAll("a[data-pair]")) link.addEventListener("click", showPair);
    apply();
  }
}
