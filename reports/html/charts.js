// Draws the page's charts in the colours of the ground they are read on, and again when it changes.
(() => {
  "use strict";
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const figures = read("figures");
  const themes = read("themes");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const touch = window.matchMedia("(pointer: coarse)");
  const paperWidth = 640; // CSS pixels that fit on A4 and on US letter
  let printing = false;

  const config = {
    responsive: true,
    displaylogo: false,
    displayModeBar: touch.matches ? false : "hover",
    modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]],
  };

  // A copy with every "var(--name)" replaced; arrays of numbers are shared, not copied.
  const coloured = (value, theme) => {
    if (typeof value === "string") {
      const match = /^var\(--(\w+)\)$/.exec(value);
      return match ? theme[match[1]] : value;
    }
    if (Array.isArray(value)) {
      return typeof value[0] === "object" ? value.map((item) => coloured(item, theme)) : value;
    }
    if (value === null || typeof value !== "object") return value;
    const entries = Object.entries(value).map(([key, item]) => [key, coloured(item, theme)]);
    return Object.fromEntries(entries);
  };

  const draw = (plot) => {
    const theme = dark.matches && !printing ? themes.dark : themes.light;
    const { data, layout } = coloured(figures[plot.dataset.figure], theme);
    // A finger that drags means to scroll the page.
    layout.dragmode = touch.matches ? false : "zoom";
    if (printing) layout.width = paperWidth;
    else layout.autosize = true;
    return Plotly.react(plot, data, layout, config);
  };

  const plots = [...document.querySelectorAll("[data-figure]")];
  const drawAll = () => plots.forEach(draw);

  // One chart a frame: the first screen can be read and scrolled while the rest is drawn.
  const drawNext = () => {
    const plot = plots.find((each) => !each.dataset.drawn);
    if (!plot) return;
    plot.dataset.drawn = "yes";
    draw(plot);
    window.requestAnimationFrame(drawNext);
  };
  drawNext();

  dark.addEventListener("change", drawAll);
  // Paper has nothing to unfold.
  const folded = [...document.querySelectorAll(".more:not([open])")];
  const print = (on) => () => {
    printing = on;
    folded.forEach((notes) => { notes.open = on; });
    drawAll();
  };
  window.addEventListener("beforeprint", print(true));
  window.addEventListener("afterprint", print(false));
})();
