"use strict";
// Draws each chart's specification in place of its fixed drawing, which stays where that fails.
for (const drawing of document.querySelectorAll("[data-chart]")) {
  const live = drawing.querySelector(".live");
  const specification = JSON.parse(drawing.querySelector("script").textContent);
  const options = { renderer: "svg", actions: false, ast: true, tooltip: { disableDefaultStyle: true } };
  live.hidden = false;
  vegaEmbed(live, specification, options).then(
    () => drawing.classList.add("drawn"),
    (problem) => { live.hidden = true; console.error(problem); },
  );
}
