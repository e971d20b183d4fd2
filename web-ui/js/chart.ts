// The plot of one chart: uPlot in an element, fed with columns that Rust has laid out (`src/components/plot.rs`).
//
// Rust decides the ranges of both axes, where they are marked, and how numbers are written; this file draws. In the
// columns NaN is a gap in the line and +Infinity is "no point here, go on". Colours come from the style sheet
// (`css/tokens.css`), so that light and dark need no second drawing code.

import uPlot from "uplot";

type Ticks = (min: number, max: number, atMost: number, whole: boolean) => [number[], string[]];

const FONT = "11px system-ui, sans-serif";
/** The crosshair stands at the same x in all charts of the page. */
const CROSSHAIR = "neptune";
/** Added to a series' colour, as two hexadecimal digits. */
const BAND_ALPHA = "26";
const EDGE_ALPHA = "80";
/** Room for one label of an axis. */
const X_LABEL_PX = 64;
const Y_LABEL_PX = 34;

const dark = matchMedia("(prefers-color-scheme: dark)");
let colours = new Map<string, string>();
dark.addEventListener("change", () => (colours = new Map()));

/** The value of a custom property, read once per colour scheme. */
function colour(name: string): string {
  let value = colours.get(name);
  if (value === undefined) {
    value = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    colours.set(name, value);
  }
  return value;
}

/** Makes uPlot's values: null is a gap, undefined is skipped. */
function values(column: Float64Array): (number | null | undefined)[] {
  return Array.from(column, (value) => (value === Infinity ? undefined : Number.isNaN(value) ? null : value));
}

export class Plot {
  #plot: uPlot;
  #readout: HTMLElement;
  #observer: ResizeObserver;
  #redraw = () => this.#plot.redraw();
  #ranges = [0, 1, 0, 1];
  #whole = false;
  #banded: boolean[] = [];
  #marks: Float64Array[] = [];
  #empty = true;

  constructor(
    private readonly root: HTMLElement,
    private readonly labels: string[],
    private readonly palette: Uint32Array,
    dots: Uint32Array,
    zoomed: (min: number, max: number) => void,
    reset: () => void,
    private readonly ticks: Ticks,
    private readonly text: (value: number) => string,
  ) {
    // Views into WebAssembly's memory do not outlive the call.
    this.palette = palette.slice();
    this.#readout = document.createElement("div");
    this.#readout.className = "plot-readout";
    this.#plot = new uPlot(this.#options(dots.slice(), zoomed, reset), [[], ...labels.flatMap(() => [[], [], []])], root);
    root.append(this.#readout);
    this.#observer = new ResizeObserver(() => this.#fit());
    this.#observer.observe(root);
    dark.addEventListener("change", this.#redraw);
  }

  /** Width of the drawing in CSS pixels. */
  get width(): number {
    return Math.round(this.#plot.bbox.width / devicePixelRatio) || this.root.clientWidth;
  }

  /** Draws a frame: `columns` is line, low and high of each series one after the other. */
  draw(x: Float64Array, columns: Float64Array, ranges: Float64Array, flags: Uint32Array, places: Float64Array, marked: Uint32Array) {
    this.#empty = ranges.length === 0;
    this.root.classList.toggle("plot-empty", this.#empty);
    if (!this.#empty) this.#ranges = Array.from(ranges);
    this.#whole = flags[0] === 1;
    this.#banded = Array.from(flags.subarray(1), (flag) => flag === 1);
    let start = 0;
    this.#marks = Array.from(marked, (count) => places.slice(start, (start += count)));
    const data: unknown[] = [Array.from(x)];
    for (let series = 0; series < this.labels.length * 3; series++) {
      data.push(values(columns.subarray(series * x.length, (series + 1) * x.length)));
    }
    this.#plot.setData(data as uPlot.AlignedData, true);
  }

  destroy() {
    this.#observer.disconnect();
    dark.removeEventListener("change", this.#redraw);
    this.#plot.destroy();
    this.#readout.remove();
  }

  #fit() {
    const { clientWidth: width, clientHeight: height } = this.root;
    if (width > 0 && height > 0) this.#plot.setSize({ width, height });
  }

  #options(dots: Uint32Array, zoomed: (min: number, max: number) => void, reset: () => void): uPlot.Options {
    const moves = (type: string) => type === "mousemove" || type === "mouseleave";
    return {
      width: this.root.clientWidth || 300,
      height: this.root.clientHeight || 180,
      legend: { show: false },
      padding: [8, 18, 0, 0],
      cursor: {
        sync: { key: CROSSHAIR, setSeries: false, scales: ["x", null], filters: { pub: moves, sub: moves } },
        drag: { x: true, y: false, setScale: false, dist: 4 },
        bind: { dblclick: () => () => (reset(), null) },
        points: { size: 6 },
        y: false,
      },
      scales: {
        x: { time: false, range: () => [this.#ranges[0]!, this.#ranges[1]!] },
        y: { range: () => [this.#ranges[2]!, this.#ranges[3]!] },
      },
      axes: [this.#axis("x"), this.#axis("y")],
      series: [{}, ...this.labels.flatMap((label, at) => this.#series(label, at, dots[at] === 1))],
      bands: this.labels.map((_, at) => ({
        series: [at * 3 + 3, at * 3 + 2],
        fill: () => (this.#banded[at] && dots[at] !== 1 ? `${colour(`--series-${this.palette[at]}`)}${BAND_ALPHA}` : "transparent"),
      })),
      hooks: {
        setSelect: [
          (plot) => {
            const { left, width } = plot.select;
            if (width < 4) return;
            const [from, to] = [plot.posToVal(left, "x"), plot.posToVal(left + width, "x")];
            plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
            if (from < to) zoomed(from, to);
          },
        ],
        setCursor: [(plot) => this.#read(plot)],
        draw: [(plot) => this.#mark(plot)],
      },
    };
  }

  #series(label: string, at: number, dots: boolean): uPlot.Series[] {
    const stroke = () => colour(`--series-${this.palette[at]}`);
    // A spike of one point must not vanish in a faint band: the band has an edge.
    const edge = () => (this.#banded[at] ? `${stroke()}${EDGE_ALPHA}` : "transparent");
    const limit: uPlot.Series = { stroke: edge, width: 1, points: { show: false } };
    const points = dots ? { show: true, size: 5, fill: stroke } : { size: 4, fill: stroke };
    const line: uPlot.Series = { label, stroke, width: 1.5, points };
    if (!dots) return [line, { ...limit }, { ...limit }];
    // Points alone: smallest and largest are points too.
    const alone = { ...line, paths: () => null };
    return [alone, { ...alone }, { ...alone }];
  }

  #axis(scale: "x" | "y"): uPlot.Axis {
    const horizontal = scale === "x";
    const marks = (plot: uPlot): [number[], string[]] => {
      if (this.#empty) return [[], []];
      const [min, max] = horizontal ? this.#ranges.slice(0, 2) : this.#ranges.slice(2);
      const room = (horizontal ? plot.bbox.width : plot.bbox.height) / devicePixelRatio;
      const atMost = Math.max(1, Math.floor(room / (horizontal ? X_LABEL_PX : Y_LABEL_PX)));
      return this.ticks(min!, max!, atMost, horizontal && this.#whole);
    };
    return {
      scale,
      font: FONT,
      stroke: () => colour("--text-faint"),
      grid: { stroke: () => colour("--line-faint"), width: 1 },
      ticks: { show: false },
      border: { show: false },
      gap: 6,
      size: horizontal ? 24 : (_plot, labels) => Math.max(36, ...(labels ?? []).map((label) => 16 + 6.3 * label.length)),
      splits: (plot) => marks(plot)[0],
      values: (plot) => marks(plot)[1],
    };
  }

  /** Writes the values under the crosshair; text only, never markup. */
  #read(plot: uPlot) {
    const { left, idx } = plot.cursor;
    const hidden = left === undefined || left < 0 || idx === null || idx === undefined || this.#empty;
    this.#readout.classList.toggle("plot-readout-shown", !hidden);
    if (hidden) return;
    this.#readout.replaceChildren();
    this.#line("plot-readout-x", this.text(plot.data[0]![idx]!), "");
    this.labels.forEach((label, at) => {
      const [value, low, high] = [1, 2, 3].map((column) => plot.data[at * 3 + column]![idx]);
      if (value === undefined) return;
      const range = low != null && high != null && low < high ? `${this.text(low)} – ${this.text(high)}` : "";
      const shown = value === null ? (range ? "" : "no finite value") : this.text(value);
      this.#line(`series-${this.palette[at]}`, shown, range, this.labels.length > 1 ? label : undefined);
    });
  }

  #line(mark: string, value: string, range: string, label?: string) {
    const line = document.createElement("div");
    const add = (text: string, name: string) => {
      const part = document.createElement("span");
      part.className = name;
      part.textContent = text;
      line.append(part);
    };
    if (mark.startsWith("series")) add("", `swatch ${mark}`);
    else line.className = mark;
    if (label !== undefined) add(label, "plot-readout-label");
    if (value) add(value, "plot-readout-value");
    if (range) add(range, "plot-readout-range");
    this.#readout.append(line);
  }

  /** Shows what no line can: NaN as ticks on the lower edge, infinities as triangles on the edges. */
  #mark(plot: uPlot) {
    const [nan, above, below] = this.#marks;
    const { ctx, bbox } = plot;
    const size = 5 * devicePixelRatio;
    const bottom = bbox.top + bbox.height;
    const at = (x: number) => plot.valToPos(x, "x", true);
    const within = (x: number) => x >= this.#ranges[0]! && x <= this.#ranges[1]!;
    ctx.save();
    ctx.fillStyle = ctx.strokeStyle = colour("--odd");
    ctx.lineWidth = 1.5 * devicePixelRatio;
    ctx.beginPath();
    for (const x of (nan ?? []).filter(within)) {
      ctx.moveTo(at(x), bottom);
      ctx.lineTo(at(x), bottom - 1.4 * size);
    }
    ctx.stroke();
    ctx.beginPath();
    const triangle = (x: number, base: number, tip: number) => {
      ctx.moveTo(at(x) - size, base);
      ctx.lineTo(at(x) + size, base);
      ctx.lineTo(at(x), tip);
    };
    for (const x of (above ?? []).filter(within)) triangle(x, bbox.top + 1.6 * size, bbox.top);
    for (const x of (below ?? []).filter(within)) triangle(x, bottom - 1.6 * size, bottom);
    ctx.fill();
    ctx.restore();
  }
}
