"use strict";
(() => {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const styleOf = Object.fromEntries(data.arms.map((arm) => [arm.name, arm]));
  const shares = new Set(["acc", "acc_flexible", "acc_norm"]);
  const ink = "#1b2330", soft = "#566072", line = "#e3e7ee";
  const font = { family: 'system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif', size: 13, color: ink };
  const config = { responsive: true, displayModeBar: false };
  // Drawn only once all panels stand: a panel's width depends on how many share its row.
  const waiting = [];
  // Plotly reads some HTML in names and hovers; text from files must stay text.
  const plain = (value) => String(value).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const narrow = () => window.innerWidth < 640;

  function panel(parent, title, detail, height) {
    const box = document.createElement("div");
    const head = document.createElement("p");
    head.className = "plot-title";
    head.textContent = title + " ";
    const small = document.createElement("small");
    small.textContent = detail;
    head.append(small);
    const plot = document.createElement("div");
    plot.className = "plot";
    plot.style.height = height + "px";
    box.append(head, plot);
    parent.append(box);
    return plot;
  }

  function grid(id) {
    const parent = document.getElementById(id);
    parent.className = "plots";
    return parent;
  }

  function empty(parent, text) {
    const note = document.createElement("p");
    note.className = "empty";
    note.textContent = text;
    parent.append(note);
  }

  const axis = (extra) => Object.assign({ gridcolor: line, linecolor: line, zeroline: false, automargin: true,
    tickfont: { color: soft } }, extra);
  const layout = (extra) => Object.assign({ font, paper_bgcolor: "#fff", plot_bgcolor: "#fff", hovermode: "closest",
    margin: { l: 10, r: 14, t: 10, b: 44 }, legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
    hoverlabel: { font, bgcolor: "#fff", bordercolor: "#9aa3b0" } }, extra);

  function drawEffects() {
    const parent = grid("effect-plots");
    for (const verdict of data.verdicts) {
      const { claim } = verdict, share = shares.has(claim.metric);
      const scale = share ? 100 : 1, sign = claim.higher_is_better ? 1 : -1;
      const unit = share ? "points" : "bits per byte", digits = share ? 2 : 4;
      const rows = [];
      if (verdict.estimate) rows.push({ arm: data.study.treatment, found: verdict.estimate, primary: true });
      for (const row of data.effects) {
        if (row.target === claim.target && row.metric === claim.metric && row.arm !== data.study.treatment) {
          rows.push({ arm: row.arm, found: row, primary: false });
        }
      }
      if (!rows.length) { empty(parent, "No paired scores for " + claim.text + "."); continue; }
      const limit = claim.type === "Benefit" ? claim.delta * scale : -claim.margin * scale;
      const plot = panel(parent, `${claim.metric} on ${claim.target}`, "dashed: " +
        (claim.type === "Benefit" ? "claimed improvement" : "largest tolerated worsening"), 120 + 62 * rows.length);
      const traces = [], labels = [];
      rows.forEach((row, index) => {
        const y = rows.length - 1 - index, style = styleOf[row.arm], { found } = row;
        labels.push([y, `${plain(row.arm)}<br><span style="font-size:11px;color:${soft}">` +
          (row.primary ? "primary" : "exploratory") + "</span>"]);
        const centre = sign * found.effect * scale;
        const half = found.high === null ? 0 : (found.high - found.effect) * scale;
        const level = +(100 * found.level).toFixed(2);
        traces.push({ x: found.seeds.map((s) => sign * s.effect * scale), y: found.seeds.map(() => y - 0.24),
          text: found.seeds.map((s) => "seed " + s.seed), mode: "markers", showlegend: false,
          marker: { symbol: style.symbol + "-open", size: 8, color: style.color, line: { width: 1.5 }, opacity: 0.85 },
          hovertemplate: `${plain(row.arm)}, %{text}: %{x:+.${digits}f} ${unit}<extra></extra>` });
        traces.push({ x: [centre], y: [y + 0.08], mode: "markers", showlegend: false,
          error_x: { type: "data", array: [half], color: style.color, thickness: row.primary ? 3 : 1.8, width: 6 },
          marker: { symbol: style.symbol, size: row.primary ? 13 : 10, color: style.color },
          hovertemplate: `${plain(row.arm)}: %{x:+.${digits}f} ${unit}<br>${level} % interval ` +
            `${(centre - half).toFixed(digits)} to ${(centre + half).toFixed(digits)}<extra></extra>` });
      });
      const vertical = (x, dash, color) => ({ type: "line", x0: x, x1: x, y0: 0, y1: 1, yref: "paper", layer: "below",
        line: { color, width: 1.5, dash } });
      waiting.push([plot, traces, layout({ shapes: [vertical(0, "solid", "#8a93a3"), vertical(limit, "dash", "#b07d00")],
        xaxis: axis({ title: { text: `improvement over control, ${unit}`, font: { size: 12.5, color: soft } } }),
        yaxis: axis({ tickvals: labels.map((l) => l[0]), ticktext: labels.map((l) => l[1]), showgrid: false,
          range: [-0.6, rows.length - 0.4], fixedrange: true, tickfont: { color: ink } }) }), config]);
    }
  }

  function legendKeys() {
    const seen = new Set();
    return (arm) => { const first = !seen.has(arm); seen.add(arm); return first; };
  }

  function drawCurves() {
    const parent = grid("curve-plots"), height = narrow() ? 320 : 400;
    if (!data.curves.pretrain.length && !data.curves.sft.length) empty(parent, "No loss was recorded.");
    if (data.curves.pretrain.length) {
      const plot = panel(parent, "Pretraining", "bits per byte", height), first = legendKeys(), traces = [];
      const most = [];
      for (const curve of data.curves.pretrain) {
        const style = styleOf[curve.arm], name = plain(curve.arm);
        const hover = (kind) => `${name}, seed ${curve.seed}, ${kind}<br>%{y:.4f} bits per byte at %{x:.4s}B<extra></extra>`;
        traces.push({ x: curve.train_source_bytes, y: curve.train_bits_per_byte, mode: "lines", legendgroup: curve.arm, name,
          showlegend: false, opacity: 0.32, line: { color: style.color, width: 1 }, hovertemplate: hover("training") });
        traces.push({ x: curve.val_source_bytes, y: curve.val_bits_per_byte, mode: "lines+markers", legendgroup: curve.arm,
          name, showlegend: first(curve.arm), line: { color: style.color, width: 1.6 },
          marker: { symbol: style.symbol, size: 6, color: style.color }, hovertemplate: hover("validation") });
        const tail = curve.train_bits_per_byte.slice(Math.floor(curve.train_bits_per_byte.length / 10));
        most.push(...tail, ...curve.val_bits_per_byte);
      }
      // The first steps start near the uniform loss and would squash what there is to see; zooming out shows them.
      const top = most.reduce((a, b) => Math.max(a, b), -Infinity), low = most.reduce((a, b) => Math.min(a, b), Infinity);
      waiting.push([plot, traces, layout({
        xaxis: axis({ title: { text: "source bytes", font: { size: 12.5, color: soft } }, exponentformat: "SI" }),
        yaxis: axis(Number.isFinite(top) ? { range: [low - 0.04 * (top - low), top + 0.04 * (top - low)] } : {}) }), config]);
    }
    if (data.curves.sft.length) {
      const plot = panel(parent, "Fine-tuning", "training loss, nats per token: not comparable between arms", height);
      const first = legendKeys();
      const traces = data.curves.sft.map((curve) => ({ x: curve.step, y: curve.loss, mode: "lines", legendgroup: curve.arm,
        name: plain(curve.arm), showlegend: first(curve.arm), opacity: 0.75, line: { color: styleOf[curve.arm].color, width: 1.2 },
        hovertemplate: `${plain(curve.arm)}, seed ${curve.seed}<br>loss %{y:.4f} at step %{x}<extra></extra>` }));
      waiting.push([plot, traces, layout({ yaxis: axis({}),
        xaxis: axis({ title: { text: "step", font: { size: 12.5, color: soft } } }) }), config]);
    }
  }

  function drawScores() {
    const parent = grid("score-plots");
    const groups = [["Shares of items", "per cent, 95 % Wilson interval", (m) => shares.has(m), 100, 2],
      ["Bits per byte", "lower is better; small: each seed", (m) => !shares.has(m), 1, 4]];
    for (const [title, detail, wanted, scale, digits] of groups) {
      const rows = data.scores.filter((row) => wanted(row.metric));
      if (!rows.length) continue;
      const plot = panel(parent, title, detail, 110 + 20 * rows.length * Math.max(2, data.arms.length));
      const labels = rows.map((row) => `${plain(row.target)}<br><span style="font-size:11px;color:${soft}">` +
        `${plain(row.metric)}</span>`);
      const traces = [];
      data.arms.forEach((arm, index) => {
        const have = rows.map((row, y) => [row.arms[arm.name], rows.length - 1 - y]).filter((pair) => pair[0]);
        const shift = 0.5 * ((data.arms.length - 1) / 2 - index) / Math.max(1, data.arms.length - 1);
        const interval = (pick) => have.map(([a]) => (a.low === undefined || a.low === null ? 0 : pick(a) * scale));
        const seeds = have.flatMap(([a, y]) => Object.entries(a.per_seed).map(([s, v]) => [v * scale, y + shift, s]));
        traces.push({ x: seeds.map((s) => s[0]), y: seeds.map((s) => s[1]), text: seeds.map((s) => s[2]), mode: "markers",
          legendgroup: arm.name, showlegend: false, marker: { symbol: arm.symbol + "-open", size: 5, color: arm.color, opacity: 0.7 },
          hovertemplate: `${plain(arm.name)}, seed %{text}: %{x:.${digits}f}<extra></extra>` });
        traces.push({ x: have.map(([a]) => a.mean * scale), y: have.map((pair) => pair[1] + shift), mode: "markers",
          name: plain(arm.name), legendgroup: arm.name, marker: { symbol: arm.symbol, size: 9, color: arm.color },
          error_x: { type: "data", symmetric: false, array: interval((a) => a.high - a.mean),
            arrayminus: interval((a) => a.mean - a.low), color: arm.color, thickness: 1.5, width: 3 },
          hovertemplate: `${plain(arm.name)}: %{x:.${digits}f}<extra></extra>` });
      });
      waiting.push([plot, traces, layout({ xaxis: axis({}), yaxis: axis({ showgrid: false, fixedrange: true,
        tickvals: rows.map((_, y) => rows.length - 1 - y), ticktext: labels, range: [-0.6, rows.length - 0.4] }) }), config]);
    }
  }

  // What a browser test reads: plots drawn, errors, and whether the page is wider than its window.
  const root = document.documentElement, errors = [];
  window.addEventListener("error", (event) => { errors.push(event.message); root.dataset.errors = errors.join(" | "); });
  for (const draw of [drawEffects, drawCurves, drawScores]) {
    try { draw(); } catch (error) { errors.push(draw.name + ": " + error.message); }
  }
  for (const [plot, ...rest] of waiting) {
    try { Plotly.newPlot(plot, ...rest); } catch (error) { errors.push("plot: " + error.message); }
  }
  function measure() {
    root.dataset.plots = document.querySelectorAll("svg.main-svg").length;
    root.dataset.scrollWidth = root.scrollWidth;
    root.dataset.clientWidth = root.clientWidth;
    root.dataset.errors = errors.join(" | ");
  }
  measure();
  window.addEventListener("load", measure);
  window.addEventListener("resize", measure);
})();
