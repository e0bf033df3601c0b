"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const ink = "#1b2330", soft = "#566072", line = "#e3e7ee";
  const font = { family: 'system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif', size: 13, color: ink };
  const axis = { gridcolor: line, linecolor: line, zeroline: false, automargin: true, tickfont: { color: soft } };
  const root = document.documentElement, errors = [];
  const narrow = () => window.innerWidth < 760;

  function layout(figure) {
    const stacked = figure.panels > 1 && narrow();
    const full = { font, paper_bgcolor: "#fff", plot_bgcolor: "#fff", hovermode: "closest",
      height: figure.height || (stacked ? 720 : 440), margin: { l: 10, r: 14, t: 10, b: 44 },
      grid: { rows: stacked ? figure.panels : 1, columns: stacked ? 1 : figure.panels, pattern: "independent",
        xgap: 0.14, ygap: 0.22 },
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
      hoverlabel: { font, bgcolor: "#fff", bordercolor: "#9aa3b0" } };
    for (const [key, value] of Object.entries(figure.layout)) {
      if (!/^[xy]axis/.test(key)) { full[key] = value; continue; }
      full[key] = Object.assign({}, axis, value);
      full[key].title = { text: value.title.text, standoff: value.title.standoff, font: { size: 12.5, color: soft } };
    }
    return full;
  }

  // What a browser test reads: plots drawn, errors, and whether the page is wider than its window.
  function measure() {
    root.dataset.plots = document.querySelectorAll("svg.main-svg").length;
    root.dataset.scrollWidth = root.scrollWidth;
    root.dataset.clientWidth = root.clientWidth;
    root.dataset.errors = errors.join(" | ");
  }

  function draw() {
    for (const plot of document.querySelectorAll("[data-figure]")) {
      const figure = figures[plot.dataset.figure];
      try {
        Plotly.react(plot, figure.data, layout(figure), { responsive: true, displayModeBar: false });
      } catch (error) { errors.push(plot.dataset.figure + ": " + error.message); }
    }
    measure();
  }

  window.addEventListener("error", (event) => { errors.push(event.message); measure(); });
  let was = narrow();
  window.addEventListener("resize", () => { if (narrow() !== was) { was = narrow(); draw(); } measure(); });
  window.addEventListener("load", measure);
  draw();
})();
