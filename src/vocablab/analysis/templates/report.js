"use strict";
(() => {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const styleOf = Object.fromEntries(data.arms.map((arm) => [arm.name, arm]));
  const shares = new Set(data.shares);
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

  // Contrasts as a forest: a band per measure with its name above, so that long names cost no width.
  function forest(parent, title, rows, styleFor, seriesOf, axisTitle) {
    const measures = [...new Set(rows.map((row) => row.target + "\n" + row.metric))];
    const series = [...new Set(rows.map(seriesOf))];
    const share = shares.has(rows[0].metric), scale = share ? 100 : 1, digits = share ? 2 : 4;
    const unit = share ? "points" : "bits per byte", step = 17, head = 26, pad = 10;
    const band = head + step * series.length + pad, height = band * measures.length;
    const width = parent.clientWidth || window.innerWidth, most = Math.max(24, Math.floor(width / 7.2));
    const shorten = (name) => (name.length > most ? name.slice(0, most - 1) + "…" : name);
    const plot = panel(parent, title, share ? unit : "", height + 100);
    const notes = [], shapes = [{ type: "line", x0: 0, x1: 0, y0: 0, y1: 1, yref: "paper", layer: "below",
      line: { color: "#8a93a3", width: 1.5 } }];
    measures.forEach((measure, index) => {
      const [target, metric] = measure.split("\n"), top = height - index * band;
      const claimed = rows.some((row) => row.claimed && row.target === target && row.metric === metric);
      notes.push({ x: 0, xref: "paper", xanchor: "left", y: top - 2, yanchor: "top", showarrow: false, align: "left",
        bgcolor: "rgba(255,255,255,0.85)", borderpad: 1,
        text: (claimed ? "<b>" : "") + plain(shorten(`${target} · ${metric}`)) + (claimed ? "</b>" : ""),
        font: { size: 12, color: claimed ? ink : soft } });
      if (index) shapes.push({ type: "line", x0: 0, x1: 1, xref: "paper", y0: top + 2, y1: top + 2, layer: "below",
        line: { color: line, width: 1 } });
    });
    const traces = series.map((name, place) => {
      const mine = rows.filter((row) => seriesOf(row) === name && row.direction), style = styleFor(name);
      const centre = mine.map((row) => row.direction * row.effect * scale);
      const half = mine.map((row) => (row.high === null ? 0 : (row.high - row.effect) * scale));
      const y = mine.map((row) => height - measures.indexOf(row.target + "\n" + row.metric) * band - head - step * (place + 0.5));
      return { x: centre, y, mode: "markers", name: plain(name), marker: { symbol: style.symbol, size: 9, color: style.color },
        error_x: { type: "data", array: half, color: style.color, thickness: 1.8, width: 4 },
        text: mine.map((row, i) => `${plain(row.target)} · ${plain(row.metric)}<br>${plain(row.arm)} minus ${plain(row.against)}: ` +
          `${centre[i] > 0 ? "+" : ""}${centre[i].toFixed(digits)} ${unit}<br>95 % interval ` +
          `${(centre[i] - half[i]).toFixed(digits)} to ${(centre[i] + half[i]).toFixed(digits)}`),
        hovertemplate: "%{text}<extra></extra>" };
    });
    waiting.push([plot, traces, layout({ shapes, annotations: notes, showlegend: true,
      xaxis: axis({ title: { text: axisTitle + ", " + unit, font: { size: 12.5, color: soft } } }),
      yaxis: { visible: false, range: [0, height], fixedrange: true } }), config]);
  }

  // Ways to answer have a section of their own. Too many measures make a picture that nobody reads: then the usual metrics stand for the rest.
  const elsewhere = /:(.*:)?(banned|forced|counterfactual|sampled|plain|outside)(\.|$)/;
  const usual = new Set(["acc", "acc_norm", "bits_per_byte", "gold_bits_per_byte"]);
  function forests(id, all, styleFor, seriesOf, axisTitle, none) {
    const parent = grid(id), judged = all.filter((row) => row.direction && row.metric !== "margin_bits" &&
      (row.claimed || !elsewhere.test(row.target)));
    if (!judged.length) { if (none) empty(parent, none); return; }
    for (const [title, wanted] of [["Shares of items", (m) => shares.has(m)], ["Bits per byte", (m) => !shares.has(m)]]) {
      let rows = judged.filter((row) => wanted(row.metric));
      const count = new Set(rows.map((row) => row.target + row.metric)).size;
      if (count > 16) rows = rows.filter((row) => usual.has(row.metric) || row.claimed);
      if (rows.length) forest(parent, title, rows, styleFor, seriesOf, axisTitle);
    }
  }

  function drawForests() {
    forests("forest-plots", data.effects, (arm) => styleOf[arm], (row) => row.arm, "improvement over control",
      "No arm pairs with the control.");
    forests("placebo-plots", data.placebos, (arm) => styleOf[arm], (row) => row.against, "improvement over the other arm", "");
  }

  function drawExposure() {
    const parent = grid("exposure-plots"), groups = new Map();
    for (const token of data.tokens) {
      for (const gain of token.gains) {
        const key = gain.task + "\n" + gain.metric;
        if (!groups.has(key)) groups.set(key, []);
        groups.get(key).push({ token: token.token, exposures: token.exposures, ...gain });
      }
    }
    const colors = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8C6D00", "#56B4E9"];
    const symbols = ["circle", "diamond", "square", "triangle-up", "cross", "star"];
    const seenIn = "exposures in " + (data.exposed_in === "sft" ? "fine-tuning, examples × passes" : "the training corpus");
    for (const [key, points] of groups) {
      const [task, metric] = key.split("\n"), scale = shares.has(metric) ? 100 : 1;
      const unit = shares.has(metric) ? "points" : "bits per byte", splits = [...new Set(points.map((p) => p.split))];
      const plot = panel(parent, `${metric} on ${task}`, "one point per token", 360);
      const traces = splits.map((split, index) => {
        const mine = points.filter((point) => point.split === split);
        return { x: mine.map((p) => p.exposures), y: mine.map((p) => p.gain * scale), text: mine.map((p) => plain(p.token)),
          mode: "markers", name: plain(split), marker: { size: 8, opacity: 0.8, color: colors[index % colors.length],
            symbol: symbols[index % symbols.length] },
          hovertemplate: `%{text}: %{x:.0f} exposures<br>%{y:+.4g} ${unit}<extra></extra>` };
      });
      const zero = { type: "line", x0: 0, x1: 1, xref: "paper", y0: 0, y1: 0, layer: "below", line: { color: "#8a93a3", width: 1.5 } };
      waiting.push([plot, traces, layout({ shapes: [zero], showlegend: splits.length > 1,
        xaxis: axis({ title: { text: seenIn, font: { size: 12.5, color: soft } }, rangemode: "tozero" }),
        yaxis: axis({ title: { text: `gain, ${unit}`, font: { size: 12.5, color: soft } } }) }), config]);
    }
  }

  function legendKeys() {
    const seen = new Set();
    return (arm) => { const first = !seen.has(arm); seen.add(arm); return first; };
  }

  function drawCurves() {
    const parent = grid("curve-plots"), height = narrow() ? 320 : 400;
    if (!data.curves.pretrain.length) empty(parent, "No loss was recorded.");
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
  }

  function drawTuning() {
    if (!document.getElementById("tuning-plots")) return;
    const parent = grid("tuning-plots"), first = legendKeys(), height = narrow() ? 300 : 340;
    if (data.curves.sft.length) {
      const plot = panel(parent, "Training loss", "nats per token: not comparable between arms", height);
      const traces = data.curves.sft.map((curve) => ({ x: curve.step, y: curve.loss, mode: "lines", legendgroup: curve.arm,
        name: plain(curve.arm), showlegend: first(curve.arm), opacity: 0.75, line: { color: styleOf[curve.arm].color, width: 1.2 },
        hovertemplate: `${plain(curve.arm)}, seed ${curve.seed}<br>loss %{y:.4f} at step %{x}<extra></extra>` }));
      waiting.push([plot, traces, layout({ yaxis: axis({}), xaxis: stepAxis() }), config]);
    }
    drawSeries(parent, data.tuning, { title: "Held-out examples", unit: "bits per byte",
      detail: "bits per byte: compares steps, not arms", series: [["held_out_bits_per_byte", ""]] });
  }

  function drawReward() {
    if (!document.getElementById("reward-plots")) return;
    const parent = grid("reward-plots");
    for (const picture of [
      { title: "Held-out pass rate", unit: "per cent", detail: "per cent of sampled answers", scale: 100,
        series: [["held_out_pass_rate", ""]] },
      { title: "Reward", unit: "per answer", detail: "per answer in training; a right one is 1, plus the bonus",
        series: [["reward", ""]] },
      { title: "Added tokens", unit: "tokens per answer", detail: "per answer in training; solid: used, dashed: idle",
        series: [["used_tokens", "used"], ["idle_tokens", "idle"]] },
      { title: "Entropy", unit: "nats", detail: "nats per token", series: [["entropy", ""]] },
      { title: "Pairs of which one is right", unit: "per cent", scale: 100,
        detail: "per cent; solid: with tokens, dashed: without",
        series: [["only_with_right", "only with tokens"], ["only_without_right", "only without"]] },
      { title: "Reward within pairs", unit: "per answer", detail: "per answer, with tokens minus without",
        series: [["difference", ""]] },
    ]) drawSeries(parent, data.reward, picture);
  }

  const stepAxis = () => axis({ title: { text: "step", font: { size: 12.5, color: soft } } });

  // A strong line per arm, the mean, over faint ones, its seeds; a second series is dashed.
  function drawSeries(parent, curves, { title, unit, detail, series, scale = 1 }) {
    const traces = [], seen = legendKeys();
    const add = (curve, kind, dash, strong, x, y, who) => {
      const color = styleOf[curve.arm].color, said = [who, kind, curve.lesson].filter(Boolean).map(plain).join(", ");
      traces.push({ x, y: y.map((value) => value * scale), mode: strong ? "lines+markers" : "lines", name: plain(curve.arm),
        legendgroup: curve.arm, showlegend: strong && seen(curve.arm), opacity: strong ? 1 : 0.35,
        line: { color, width: strong ? 2 : 1, dash }, marker: { symbol: styleOf[curve.arm].symbol, size: 5, color },
        hovertemplate: `${plain(curve.arm)}, ${said}<br>%{y:.4~g} ${unit} at step %{x}<extra></extra>` });
    };
    series.forEach(([name, kind], index) => {
      const dash = index ? "dash" : "solid", mine = curves[name] || [];
      for (const curve of mine) for (const one of curve.seeds) add(curve, kind, dash, false, one.step, one.value, "seed " + one.seed);
      for (const curve of mine) add(curve, kind, dash, true, curve.step, curve.mean, "mean over seeds");
    });
    if (!traces.length) return;
    const plot = panel(parent, title, detail, narrow() ? 280 : 320);
    waiting.push([plot, traces, layout({ xaxis: stepAxis(), yaxis: axis({}) }), config]);
  }

  function drawScores() {
    const parent = grid("score-plots");
    const groups = [["Shares of items", "per cent, 95 % Wilson interval", (m) => shares.has(m), 100, 2],
      ["Bits per byte", "lower is better; small: each seed", (m) => !shares.has(m) && m !== "margin_bits", 1, 4]];
    for (const [title, detail, wanted, scale, digits] of groups) {
      let rows = data.scores.filter((row) => wanted(row.metric) && !elsewhere.test(row.target));
      if (rows.length > 16) rows = rows.filter((row) => usual.has(row.metric));
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
  for (const draw of [drawEffects, drawForests, drawExposure, drawCurves, drawTuning, drawReward, drawScores]) {
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
