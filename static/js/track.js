// Values along a chain, deposited and refined, with ticks for outliers. A click or Enter selects the residue.

import { current, onSelect, select } from "./selection.js";

const HEIGHT = 240;
const TICK = 6;

function colourOf(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

class Track {
  constructor(root, uPlot) {
    this.root = root;
    this.uPlot = uPlot;
    this.area = root.querySelector("[data-plot]");
    this.readout = root.querySelector("[data-readout]");
    this.chain = root.querySelector("[data-chain]");
    this.series = root.querySelector("[data-series]");
    this.cache = new Map();
    this.index = null;
  }

  async data(chain) {
    if (!this.cache.has(chain)) {
      const answer = await fetch(`${this.root.dataset.url}?chain=${encodeURIComponent(chain)}`);
      if (!answer.ok) throw new Error(`The values of chain ${chain} could not be loaded.`);
      this.cache.set(chain, await answer.json());
    }
    return this.cache.get(chain);
  }

  async show() {
    try {
      this.shown = await this.data(this.chain.value);
    } catch (error) {
      this.readout.textContent = error.message;
      return;
    }
    this.draw();
    this.readout.textContent = "Point at the plot, or go along it with the arrow keys. A click shows the residue in the viewer.";
  }

  draw() {
    this.plot?.destroy();
    const values = this.shown.values[this.series.value] ?? { initial: [], refined: [] };
    const positions = this.shown.number.map((_, index) => index);
    this.plot = new this.uPlot(this.options(), [positions, values.initial, values.refined], this.area);
    this.root.dataset.ready = "true";
  }

  options() {
    const grid = { stroke: colourOf("--line"), width: 1 };
    const text = colourOf("--ink-soft");
    const font = '12px system-ui, "Segoe UI", Arial, sans-serif';
    const line = (label, name, width) => ({ label, stroke: colourOf(name), width, points: { show: this.shown.number.length < 80, size: 5, fill: colourOf(name) } });
    return {
      width: Math.max(280, this.area.clientWidth),
      height: HEIGHT,
      legend: { show: false },
      scales: { x: { time: false } },
      cursor: { drag: { x: true, y: false }, points: { size: 9 } },
      series: [{}, line("deposited", "--deposited-fill", 1.25), line("refined", "--refined-fill", 1.75)],
      axes: [
        { stroke: text, grid, font, ticks: grid, values: (_, splits) => splits.map((at) => (Number.isInteger(at) ? (this.shown.number[at] ?? "") : "")) },
        { stroke: text, grid, font, ticks: grid, size: 56 },
      ],
      hooks: {
        setCursor: [(plot) => this.point(plot.cursor.idx)],
        draw: [(plot) => this.drawOutliers(plot)],
        ready: [(plot) => plot.over.addEventListener("click", () => this.choose())],
      },
    };
  }

  drawOutliers(plot) {
    const { ctx, bbox } = plot;
    const height = TICK * devicePixelRatio;
    const rows = [["initial", "--deposited-fill", 2.3], ["refined", "--refined-fill", 1.15]];
    ctx.save();
    for (const [state, name, row] of rows) {
      ctx.fillStyle = colourOf(name);
      this.shown.flags[state].forEach((flags, index) => {
        if (!flags.length) return;
        const x = plot.valToPos(index, "x", true);
        if (x < bbox.left || x > bbox.left + bbox.width) return;
        ctx.fillRect(x - devicePixelRatio, bbox.top + bbox.height - row * height, 2 * devicePixelRatio, height);
      });
    }
    ctx.restore();
  }

  point(index) {
    if (index === null || index === undefined) return;
    this.index = index;
    const { number, compound, values, flags, flagNames } = this.shown;
    const value = (state) => values[this.series.value]?.[state][index] ?? "n/a";
    const named = (state) => flags[state][index].map((flag) => flagNames[flag]).join(", ");
    const outliers = [["deposited", named("initial")], ["refined", named("refined")]].filter(([, names]) => names);
    const ending = outliers.map(([state, names]) => ` · outlier ${state}: ${names}`).join("");
    const label = this.series.selectedOptions[0].textContent;
    this.readout.textContent = `${this.chain.value}/${number[index]} ${compound[index]} · ${label} ${value("initial")} deposited, ${value("refined")} refined${ending}`;
  }

  choose() {
    if (this.index !== null) select(this.chain.value, this.shown.number[this.index], "track");
  }

  async follow({ chain, number, source }) {
    if (source === "track") return;
    if (this.chain.value !== chain) {
      if (![...this.chain.options].some((option) => option.value === chain)) return;
      this.chain.value = chain;
      await this.show();
    }
    this.moveTo(this.shown.number.indexOf(number));
  }

  moveTo(index) {
    if (!this.plot || index < 0 || index >= this.shown.number.length) return;
    this.plot.setCursor({ left: this.plot.valToPos(index, "x"), top: HEIGHT / 3 });
    this.point(index);
  }

  connect() {
    this.chain.addEventListener("change", () => this.show());
    this.series.addEventListener("change", () => this.draw());
    this.area.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step) this.moveTo((this.index ?? (step > 0 ? -1 : this.shown.number.length)) + step);
      else if (event.key === "Enter") this.choose();
      else return;
      event.preventDefault();
    });
    new ResizeObserver(() => {
      const width = Math.max(280, this.area.clientWidth);
      if (this.plot && this.plot.width !== width) this.plot.setSize({ width, height: HEIGHT });
    }).observe(this.area);
    document.addEventListener("ceres:theme", () => this.shown && this.draw());
    onSelect((residue) => this.follow(residue));
  }
}

async function start(root) {
  const { default: uPlot } = await import(root.dataset.uplot);
  const track = new Track(root, uPlot);
  track.connect();
  const residue = current();
  if (residue && [...track.chain.options].some((option) => option.value === residue.chain)) track.chain.value = residue.chain;
  await track.show();
  if (residue) track.follow({ ...residue, source: "address" });
}

const root = document.querySelector("[data-track]");
if (root) start(root);
